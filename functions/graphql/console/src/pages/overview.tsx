import { useEffect, useState } from "react";
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
import { Table } from "../ui/table.tsx";
import { Ago } from "../ui/time.tsx";
import { LastHour } from "./last-hour.tsx";
import { StuckNow } from "./stuck.tsx";

const DASHBOARD = graphql(`
  subscription Dashboard {
    dashboardStatsStream {
      at
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
    dashboardHistory(minutes: 61) {
      at
      commands
      queries
      deliveries
      errors
      failedDeliveries
      averageLatencyMs
      lagSeconds
      lagStreams
      outboxWaiting
      sagasStarted
      sagasCompensating
      sagasStuck
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

const EVERY_MS = 10_000;
/** After which a reading is old: the server sends one at least every seven seconds. */
const OLD_MS = 10_000;

const Overview = () => {
  const t = useT();
  const asked = useAsk(OVERVIEW, {}, { every: EVERY_MS });
  return (
    <>
      <h1>{t("nav.overview")}</h1>
      <StuckNow />
      <Now />
      <Answer asked={asked}>
        {({ health, projectionStatus, systemStatistics, pubsubStats, schedules, dashboardHistory }) => (
          <>
            {dashboardHistory && <LastHour minutes={dashboardHistory} />}
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

/** The newest reading, live. While a database is down the server sends none, and the last one grows old. */
const Now = () => {
  const t = useT();
  const [reading, setReading] = useState<Reading>();
  const [old, setOld] = useState<Reading>();
  const live = useLive(DASHBOARD, {}, (data) => setReading(data.dashboardStatsStream));
  useEffect(() => {
    const timer = setTimeout(() => setOld(reading), OLD_MS);
    return () => clearTimeout(timer);
  }, [reading]);
  const isOld = reading !== undefined && reading === old;
  const isConnected = live.state === "live" || live.state === "connecting";
  return (
    <section aria-labelledby="now">
      <div className="row between">
        <h2 id="now">{t("overview.numbers")}</h2>
        {isOld && isConnected ? (
          <span className="live lost" role="status">
            {t("overview.silent")}
          </span>
        ) : (
          <LiveSign live={live} />
        )}
      </div>
      {reading ? (
        <>
          <p className="note">
            {t("overview.read")} <Ago at={reading.at} />
          </p>
          <Numbers now={reading} isOld={isOld} />
        </>
      ) : (
        isConnected && <p className="loading">{t("answer.loading")}</p>
      )}
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

const Numbers = ({ now, isOld }: { now: Reading; isOld: boolean }) => {
  const t = useT();
  const number = (value: number) => numberOf(value, t.language);
  const percent = (share: number) =>
    new Intl.NumberFormat(t.language, { style: "percent", maximumFractionDigits: 1 }).format(share);
  const tiles = [
    { name: t("overview.perMinute"), figure: number(now.eventsPerMinute) },
    { name: t("overview.errors"), figure: percent(now.errorRate) },
    { name: t("overview.latency"), figure: durationOf(now.averageLatencyMs, t.language) },
    { name: t("overview.activeSagas"), figure: number(now.activeSagas) },
    { name: t("overview.events"), figure: number(now.totalEvents) },
    { name: t("overview.commands"), figure: number(now.totalCommands) },
  ];
  return (
    <div className={isOld ? "tiles old" : "tiles"}>
      {tiles.map(({ name, figure }) => (
        <div className="tile" key={name}>
          <div className="name">{name}</div>
          <div className="figure">{figure}</div>
        </div>
      ))}
    </div>
  );
};

export default Overview;
