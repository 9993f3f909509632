import { useEffect, useMemo, useState } from "react";
import { Link } from "wouter";

import { graphql, type ResultOf } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { changed } from "../ui/address.ts";
import { Answer } from "../ui/answer.tsx";
import { Status, toneOf } from "../ui/badge.tsx";
import { Button } from "../ui/button.tsx";
import { durationOf, numberOf } from "../ui/format.ts";
import { Choice, Filters } from "../ui/filters.tsx";
import { Table } from "../ui/table.tsx";
import { useUrl } from "../ui/use-url.ts";
import { FunctionPage } from "./function-page.tsx";
import {
  drawn,
  type Edge,
  pathOf,
  rateOf,
  type Rates,
  type Reading,
  readingOf,
  subscriptionsOf,
  withReading,
} from "./topology-layout.ts";

const TOPOLOGY = graphql(`
  query Topology {
    systemTopology {
      serviceName
      nodeName
      group
      status
      uptimeSeconds
      memoryUsageMb
      cpuUsagePercent
      messageQueueSize
      connections {
        targetService
        connectionType
        status
        latencyMs
        calls
        errors
        totalDurationMs
      }
    }
    pubsubStats {
      topic
      messagesPerMinute
    }
    projectionStatus {
      name
      stop {
        until
      }
    }
  }
`);

type Answered = ResultOf<typeof TOPOLOGY>;
type Services = NonNullable<Answered["systemTopology"]>;

const EVERY_MS = 10_000;
/** How much the picture grows on a large screen. */
const LARGEST = 1.2;
const [MENU, STEP] = [280, 80];
const GROUPS = ["client", "command", "query"];

const Topology = () => {
  const t = useT();
  const [url, change] = useUrl();
  const asked = useAsk(TOPOLOGY, {}, { every: EVERY_MS });
  const [readings, setReadings] = useState<Reading[]>([]);
  const found = asked.data?.systemTopology;
  useEffect(() => {
    if (found) setReadings((before) => withReading(before, readingOf(found, Date.now())));
  }, [found]);
  const group = url.get("group");
  const chosen = url.get("function");
  const pageOf = (name: string) => `/topology${changed(url, { function: name })}`;
  return (
    <>
      <h1>{t("nav.topology")}</h1>
      <Filters>
        <Choice name="group" label={t("topology.group")} options={GROUPS} />
        <Button
          pressed={url.has("databases")}
          onClick={() => change({ databases: url.has("databases") ? undefined : "1" })}
        >
          {t("topology.databases")}
        </Button>
        <Button pressed={url.has("dead")} onClick={() => change({ dead: url.has("dead") ? undefined : "1" })}>
          {t("topology.dead")}
        </Button>
      </Filters>
      {chosen && (
        <FunctionPage
          name={chosen}
          handlesCommand={isCalled(found, chosen)}
          subscriptions={subscriptionsOf(found?.find(({ serviceName }) => serviceName === chosen), readings)}
          close={() => change({ function: undefined })}
        />
      )}
      <Answer asked={asked}>
        {({ systemTopology, pubsubStats, projectionStatus }) => {
          const services = (systemTopology ?? []).filter((one) => !group || one.group === group);
          return (
            <>
              <Picture
                services={services}
                databases={url.has("databases")}
                dead={url.has("dead")}
                readings={readings}
                pageOf={pageOf}
                stopped={new Set(projectionStatus?.filter(({ stop }) => stop).map(({ name }) => name))}
                rates={new Map(pubsubStats?.map(({ topic, messagesPerMinute }) => [topic, messagesPerMinute]))}
              />
              <Table
                caption={t("nav.topology")}
                rows={services}
                keyOf={({ serviceName }) => serviceName}
                columns={[
                  {
                    name: t("topology.function"),
                    cell: ({ serviceName }) => <Link href={pageOf(serviceName)}>{serviceName}</Link>,
                  },
                  { name: t("status"), cell: ({ status }) => <Status of={status} /> },
                  { name: t("topology.group"), cell: (one) => one.group },
                  {
                    name: t("messages.backlog"),
                    number: true,
                    cell: ({ messageQueueSize: size }) => (size === null ? "" : numberOf(size, t.language)),
                  },
                  {
                    name: t("topology.memory"),
                    number: true,
                    cell: ({ memoryUsageMb: size }) => (size === null ? "" : `${size} MB`),
                  },
                  {
                    name: t("topology.uptime"),
                    number: true,
                    cell: ({ uptimeSeconds: up }) => (up === null ? "" : durationOf(up * 1000, t.language)),
                  },
                ]}
              />
            </>
          );
        }}
      </Answer>
    </>
  );
};

/** The graphql function calls a function for each command of a client. */
const isCalled = (services: Answered["systemTopology"] | undefined, name: string): boolean =>
  services?.some(
    ({ serviceName, connections }) =>
      serviceName === "graphql" && connections.some(({ targetService }) => targetService === name),
  ) ?? false;

type PictureProps = {
  services: Services;
  databases: boolean;
  dead: boolean;
  rates: ReadonlyMap<string, number>;
  readings: readonly Reading[];
  /** Return the address of a function's page, which keeps what is filtered here. */
  pageOf: (name: string) => string;
  /** The projections that an admin has stopped: what comes for them waits, and has not failed. */
  stopped: ReadonlySet<string>;
};

const Picture = ({ services, databases, dead, rates, readings, pageOf, stopped }: PictureProps) => {
  const t = useT();
  const width = useWidth();
  const shape = useMemo(() => {
    const kinds = databases ? ["DATABASE", "BROKER", "SUBSCRIPTION", "HTTP"] : ["SUBSCRIPTION", "HTTP"];
    return drawn(
      services.map((one) => ({
        ...one,
        connections: one.connections.filter(
          ({ connectionType, targetService }) =>
            kinds.includes(connectionType) && (dead || !targetService.endsWith(".dead")),
        ),
      })),
      width,
    );
  }, [services, databases, dead, width]);
  const byName = new Map(services.map((one) => [one.serviceName, one]));
  return (
    <div className="graph panel" role="region" aria-label={t("topology.picture")} tabIndex={0}>
      <svg
        viewBox={`0 0 ${shape.width} ${shape.height}`}
        className="grows"
        style={{ minWidth: shape.width, maxWidth: shape.width * LARGEST }}
        role="group"
        aria-label={t("topology.picture")}
      >
        {shape.edges.map((edge) => (
          <EdgeLine
            key={`${edge.from} ${edge.to}`}
            edge={edge}
            rates={rateOf(readings, `${edge.from} ${edge.to}`)}
            stopped={stopped.has(edge.to)}
          />
        ))}
        {shape.nodes.map(({ id, x, y, width, height }) => {
          const service = byName.get(id);
          const rate = rates.get(id);
          const second = [
            stopped.has(id) ? t("topology.stopped") : (service?.status ?? ""),
            service?.messageQueueSize ? t("topology.waiting", { n: service.messageQueueSize }) : "",
            rate === undefined ? "" : t("topology.rate", { n: numberOf(rate, t.language) }),
          ]
            .filter(Boolean)
            .join(" · ");
          const href = service ? pageOf(id) : rate === undefined ? undefined : `/messages?topic=${id}`;
          const box = (
            <g className={`node ${stopped.has(id) ? "warn" : service ? toneOf(service.status) : ""}`}>
              <rect x={x - width / 2} y={y - height / 2} width={width} height={height} rx={service ? 8 : 22} />
              <text x={x} y={y - 2} textAnchor="middle">
                {id}
              </text>
              <text x={x} y={y + 14} textAnchor="middle" className="second">
                {second}
              </text>
            </g>
          );
          return href ? (
            <Link key={id} href={href}>
              {box}
            </Link>
          ) : (
            <g key={id}>{box}</g>
          );
        })}
      </svg>
    </div>
  );
};

const rounded = (rate: number, language: string): string =>
  numberOf(rate < 10 ? rate.toFixed(1) : Math.round(rate), language);

/** Return how much of the window's width the picture has, in steps, so that not every pixel draws it anew. */
const useWidth = (): number => {
  const [width, setWidth] = useState(innerWidth);
  useEffect(() => {
    const resized = () => setWidth(innerWidth);
    addEventListener("resize", resized);
    return () => removeEventListener("resize", resized);
  }, []);
  return Math.floor((width - MENU) / STEP) * STEP;
};

/** A connection, with how often it was used, how long that took and how often it failed. */
const EdgeLine = ({ edge, rates, stopped }: { edge: Edge; rates: Rates; stopped: boolean }) => {
  const t = useT();
  const { status, x, y } = edge;
  const fails = !stopped && (rates?.errors ?? 0) > 0;
  return (
    <g className={fails || toneOf(status) === "bad" ? "edge bad" : "edge"}>
      <path d={pathOf(edge)} />
      {rates && rates.calls > 0 && (
        <text x={x} y={y - 3} textAnchor="middle" className="second">
          {t("topology.rate", { n: rounded(rates.calls, t.language) })}
          {` · ${durationOf(rates.averageMs, t.language)}`}
          {fails && ` · ${t("topology.edge.errors", { n: rounded(rates.errors, t.language) })}`}
        </text>
      )}
    </g>
  );
};

export default Topology;
