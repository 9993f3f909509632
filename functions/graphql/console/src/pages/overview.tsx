import { useState } from "react";
import { Link } from "wouter";

import { graphql, type ResultOf } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { useLive } from "../api/use-live.ts";
import { useT } from "../i18n/index.tsx";
import { Sentence } from "../i18n/said.tsx";
import { Answer } from "../ui/answer.tsx";
import { Status } from "../ui/badge.tsx";
import { durationOf, numberOf } from "../ui/format.ts";
import { LiveSign } from "../ui/live.tsx";
import { Spark } from "../ui/spark.tsx";
import { Table } from "../ui/table.tsx";
import { Ago } from "../ui/time.tsx";
import { StuckNow } from "./stuck.tsx";

const DASHBOARD = graphql(`
  subscription Dashboard {
    dashboardStatsStream {
      totalEvents
      eventsPerMinute
      activeSagas
      totalCommands
      totalQueries
      systemHealth
      errorRate
      averageLatencyMs
    }
  }
`);

const OVERVIEW = graphql(`
  query Overview {
    health {
      status
      checks {
        name
        status
        message
        messagePhrases {
          code
          parts
        }
        durationMs
      }
    }
    projectionStatus {
      name
      status
      lagEvents
      lagSeconds
      lastProcessedAt
      deadLetters
    }
    systemStatistics {
      sagas {
        active
        completed
        failed
        compensated
        total
      }
    }
    schedules {
      name
      everySeconds
      status
      lastRunAt
      failures
    }
    dashboardHistory(minutes: 60) {
      at
      commands
      queries
      deliveries
      errors
      averageLatencyMs
    }
    pubsubStats {
      topic
      messageCount
      messagesPerMinute
      lastMessageAt
    }
  }
`);

type Reading = ResultOf<typeof DASHBOARD>["dashboardStatsStream"];

const KEPT = 150;
const EVERY_MS = 10_000;

const Overview = () => {
  const t = useT();
  const [readings, setReadings] = useState<Reading[]>([]);
  const live = useLive(DASHBOARD, {}, (data) => {
    setReadings((before) => [...before, data.dashboardStatsStream].slice(-KEPT));
  });
  const asked = useAsk(OVERVIEW, {}, { every: EVERY_MS });
  const now = readings.at(-1);
  return (
    <>
      <div className="row between">
        <h1>{t("nav.overview")}</h1>
        <LiveSign live={live} />
      </div>
      <StuckNow />
      <h2>{t("overview.numbers")}</h2>
      {now ? <Numbers now={now} readings={readings} /> : <p className="loading">{t("answer.loading")}</p>}
      <Answer asked={asked}>
        {({ health, projectionStatus, systemStatistics, pubsubStats, schedules, dashboardHistory }) => (
          <>
            {dashboardHistory && <History minutes={dashboardHistory} />}
            <div className="columns">
              <section className="panel">
                <h2>{t("overview.sagas")}</h2>
                <dl className="facts">
                  {(["active", "completed", "failed", "compensated"] as const).map((state) => (
                    <SagaCount key={state} state={state} count={systemStatistics.sagas[state]} />
                  ))}
                </dl>
              </section>
              {health && (
                <section className="panel">
                  <h2>
                    {t("overview.health")} <Status of={health.status} />
                  </h2>
                  <p className="note">
                    {t("overview.health.note")} <a href="#stuck">{t("stuck.title")}</a>
                  </p>
                  <ul className="steps">
                    {health.checks.map((check) => (
                      <li key={check.name}>
                        <Status of={check.status} /> <strong>{check.name}</strong>{" "}
                        <Sentence of={check.messagePhrases} english={check.message} />{" "}
                        <small>{durationOf(check.durationMs, t.language)}</small>
                      </li>
                    ))}
                  </ul>
                </section>
              )}
            </div>
            {projectionStatus && (
              <section className="panel">
                <h2>
                  <Link href="/read-models">{t("nav.readModels")}</Link>
                </h2>
                <Table
                  caption={t("nav.readModels")}
                  rows={projectionStatus}
                  keyOf={({ name }) => name}
                  columns={[
                    { name: t("projection.name"), cell: ({ name }) => <code>{name}</code> },
                    { name: t("status"), cell: ({ status }) => <Status of={status} /> },
                    { name: t("projection.lag"), number: true, cell: (one) => numberOf(one.lagEvents, t.language) },
                    {
                      name: t("projection.age"),
                      number: true,
                      cell: ({ lagSeconds }) =>
                        lagSeconds === null ? t("unknown") : durationOf(lagSeconds * 1000, t.language),
                    },
                    {
                      name: t("projection.last"),
                      cell: ({ lastProcessedAt }) => (lastProcessedAt ? <Ago at={lastProcessedAt} /> : "–"),
                    },
                  ]}
                />
              </section>
            )}
            {schedules && (
              <section className="panel">
                <h2>{t("overview.schedules")}</h2>
                <Table
                  caption={t("overview.schedules")}
                  rows={schedules}
                  keyOf={({ name }) => name}
                  columns={[
                    {
                      name: t("schedule.name"),
                      cell: ({ name }) => <Link href={`/topology?function=${name}`}>{name}</Link>,
                    },
                    { name: t("status"), cell: ({ status }) => <Status of={status} /> },
                    {
                      name: t("schedule.every"),
                      number: true,
                      cell: ({ everySeconds }) => durationOf(everySeconds * 1000, t.language),
                    },
                    {
                      name: t("schedule.last"),
                      cell: ({ lastRunAt }) => (lastRunAt ? <Ago at={lastRunAt} /> : "–"),
                    },
                    { name: t("schedule.failures"), number: true, cell: (one) => numberOf(one.failures, t.language) },
                  ]}
                />
              </section>
            )}
            {pubsubStats && (
              <section className="panel">
                <h2>
                  <Link href="/messages">{t("nav.messages")}</Link>
                </h2>
                <Table
                  caption={t("nav.messages")}
                  rows={[...pubsubStats].sort((a, b) => b.messagesPerMinute - a.messagesPerMinute).slice(0, 6)}
                  keyOf={({ topic }) => topic}
                  columns={[
                    {
                      name: t("messages.topic"),
                      cell: ({ topic }) => <Link href={`/messages?topic=${topic}`}>{topic}</Link>,
                    },
                    {
                      name: t("messages.perMinute"),
                      number: true,
                      cell: (one) => numberOf(one.messagesPerMinute, t.language),
                    },
                    { name: t("messages.total"), number: true, cell: (one) => numberOf(one.messageCount, t.language) },
                    {
                      name: t("messages.last"),
                      cell: ({ lastMessageAt }) => (lastMessageAt ? <Ago at={lastMessageAt} /> : "–"),
                    },
                  ]}
                />
              </section>
            )}
          </>
        )}
      </Answer>
    </>
  );
};

type Minutes = NonNullable<ResultOf<typeof OVERVIEW>["dashboardHistory"]>;

const History = ({ minutes }: { minutes: Minutes }) => {
  const t = useT();
  const charts = [
    { name: t("overview.commands"), values: minutes.map(({ commands }) => commands) },
    { name: t("overview.queries"), values: minutes.map(({ queries }) => queries) },
    { name: t("overview.deliveries"), values: minutes.map(({ deliveries }) => deliveries) },
    { name: t("overview.errors"), values: minutes.map(({ errors }) => errors) },
    { name: t("overview.latency"), values: minutes.map(({ averageLatencyMs }) => averageLatencyMs ?? 0) },
  ];
  return (
    <section className="panel">
      <h2>{t("overview.history")}</h2>
      <div className="tiles">
        {charts.map(({ name, values }) => (
          <figure key={name}>
            <figcaption className="name">{name}</figcaption>
            <Spark values={values} label={`${name}: ${values.join(", ")}`} />
          </figure>
        ))}
      </div>
    </section>
  );
};

const SagaCount = ({ state, count }: { state: "active" | "completed" | "failed" | "compensated"; count: number }) => {
  const t = useT();
  return (
    <>
      <dt>{t(`overview.sagas.${state}`)}</dt>
      <dd>
        <Link href={`/sagas?status=${state.toUpperCase()}`}>{numberOf(count, t.language)}</Link>
      </dd>
    </>
  );
};

const Numbers = ({ now, readings }: { now: Reading; readings: readonly Reading[] }) => {
  const t = useT();
  const number = (value: number) => numberOf(value, t.language);
  const percent = (share: number) =>
    new Intl.NumberFormat(t.language, { style: "percent", maximumFractionDigits: 1 }).format(share);
  const tiles = [
    { name: t("overview.perMinute"), figure: number(now.eventsPerMinute), of: (one: Reading) => one.eventsPerMinute },
    { name: t("overview.errors"), figure: percent(now.errorRate), of: (one: Reading) => one.errorRate },
    {
      name: t("overview.latency"),
      figure: durationOf(now.averageLatencyMs, t.language),
      of: (one: Reading) => one.averageLatencyMs,
    },
    { name: t("overview.activeSagas"), figure: number(now.activeSagas), of: (one: Reading) => one.activeSagas },
    { name: t("overview.events"), figure: number(now.totalEvents), of: (one: Reading) => one.totalEvents },
    { name: t("overview.commands"), figure: number(now.totalCommands), of: (one: Reading) => one.totalCommands },
  ];
  return (
    <div className="tiles">
      {tiles.map(({ name, figure, of }) => (
        <div className="tile" key={name}>
          <div className="name">{name}</div>
          <div className="figure">{figure}</div>
          <Spark values={readings.map(of)} label={name} />
        </div>
      ))}
    </div>
  );
};

export default Overview;
