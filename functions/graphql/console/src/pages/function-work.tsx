import { Link } from "wouter";

import { graphql } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { Reported } from "../i18n/said.tsx";
import { useViewer } from "../session/viewer.tsx";
import { Answer } from "../ui/answer.tsx";
import { Status } from "../ui/badge.tsx";
import { durationOf, numberOf } from "../ui/format.ts";
import { Table } from "../ui/table.tsx";
import { Ago } from "../ui/time.tsx";
import type { Subscription } from "./topology-layout.ts";

const WAITING = graphql(`
  query WaitingDeadLetters($source: String!) {
    deadLettersConnection(first: 1, filter: { status: PENDING, source: $source }) {
      totalCount
    }
  }
`);

const PROJECTION = graphql(`
  query ProjectionOfFunction {
    projectionStatus {
      name
      status
      lagEvents
      lagSeconds
      lastProcessedAt
      lastError
      lastErrorAt
    }
  }
`);

const RUNS = graphql(`
  query RunsOfFunction {
    schedules {
      name
      everySeconds
      status
      lastRunAt
      runs
      failures
      lastError
      lastErrorAt
    }
  }
`);

const EVERY_MS = 5_000;
const NONE = "–";

/** What a function's subscriptions were given, how long that took, how often it failed, and what waits for an admin. */
export const Deliveries = ({ subscriptions }: { subscriptions: readonly Subscription[] }) => {
  const t = useT();
  const number = (value: number | string | null | undefined) =>
    value === null || value === undefined ? NONE : numberOf(value, t.language);
  const duration = (milliseconds: number | null) => (milliseconds === null ? NONE : durationOf(milliseconds, t.language));
  return (
    <>
      <h3>{t("overview.deliveries")}</h3>
      <Table
        caption={t("overview.deliveries")}
        rows={subscriptions}
        keyOf={({ name }) => name}
        columns={[
          {
            name: t("messages.topic"),
            cell: ({ topic }) => <Link href={`/messages?topic=${encodeURIComponent(topic)}`}>{topic}</Link>,
          },
          { name: t("topology.perMinute"), number: true, cell: ({ rates }) => number(rates?.calls) },
          { name: t("topology.failedPerMinute"), number: true, cell: ({ rates }) => number(rates?.errors) },
          { name: t("duration"), number: true, cell: ({ rates }) => duration(rates && rates.calls > 0 ? rates.averageMs : null) },
          { name: t("messages.total"), number: true, cell: ({ calls }) => number(calls) },
          { name: t("projection.failed"), number: true, cell: ({ errors }) => number(errors) },
          {
            name: t("topology.averageEver"),
            number: true,
            cell: ({ calls, totalDurationMs }) => duration(Number(calls) ? Number(totalDurationMs) / Number(calls) : null),
          },
          { name: t("nav.deadLetters"), number: true, cell: ({ name }) => <Waiting source={name} /> },
        ]}
      />
      <p className="note">{t("topology.rates.note")}</p>
    </>
  );
};

/** How many dead letters of a subscription wait, with the way to them, for admins. One to dead letters has none. */
const Waiting = ({ source }: { source: string }) => {
  const t = useT();
  const hidden = !useViewer().may("admin");
  const last = source.endsWith(".dead");
  const asked = useAsk(WAITING, { source }, { every: EVERY_MS, pause: hidden || last });
  const number = asked.data?.deadLettersConnection?.totalCount;
  if (last) return NONE;
  if (hidden) return <small>{t("hidden")}</small>;
  if (asked.failure) return <code>{asked.failure.code}</code>;
  return (
    <Link href={`/dead-letters?status=PENDING&source=${encodeURIComponent(source)}`}>
      {number === null || number === undefined ? t("letters.show") : numberOf(number, t.language)}
    </Link>
  );
};

/** How far a projection has come. */
export const ProjectionWork = ({ name }: { name: string }) => {
  const t = useT();
  const asked = useAsk(PROJECTION, {}, { every: EVERY_MS });
  return (
    <Answer asked={asked}>
      {({ projectionStatus }) => {
        const found = projectionStatus?.find((one) => one.name === name);
        return (
          found && (
            <dl className="facts">
              <dt>{t("status")}</dt>
              <dd>
                <Status of={found.status} /> <Link href="/read-models">{t("stuck.open.readModels")}</Link>
              </dd>
              <dt>{t("projection.lag")}</dt>
              <dd>
                {numberOf(found.lagEvents, t.language)}
                {found.lagSeconds !== null && ` (${durationOf(found.lagSeconds * 1000, t.language)})`}
              </dd>
              <dt>{t("projection.last")}</dt>
              <dd>{found.lastProcessedAt ? <Ago at={found.lastProcessedAt} /> : NONE}</dd>
              <LastError error={found.lastError} at={found.lastErrorAt} />
            </dl>
          )
        );
      }}
    </Answer>
  );
};

/** The runs of a scheduled function; nothing for any other. */
export const Runs = ({ name }: { name: string }) => {
  const t = useT();
  const asked = useAsk(RUNS, {}, { every: EVERY_MS });
  return (
    <Answer asked={asked}>
      {({ schedules }) => {
        const found = schedules?.find((one) => one.name === name);
        return (
          found && (
            <>
              <h3>{t("overview.schedules")}</h3>
              <dl className="facts">
                <dt>{t("status")}</dt>
                <dd>
                  <Status of={found.status} />
                </dd>
                <dt>{t("schedule.every")}</dt>
                <dd>{durationOf(found.everySeconds * 1000, t.language)}</dd>
                <dt>{t("schedule.last")}</dt>
                <dd>{found.lastRunAt ? <Ago at={found.lastRunAt} /> : NONE}</dd>
                <dt>{t("schedule.failures")}</dt>
                <dd>
                  {t("progress", { n: numberOf(found.failures, t.language), of: numberOf(found.runs, t.language) })}
                </dd>
                <LastError error={found.lastError} at={found.lastErrorAt} />
              </dl>
            </>
          )
        );
      }}
    </Answer>
  );
};

const LastError = ({ error, at }: { error: string | null; at: string | null }) => {
  const t = useT();
  return (
    error && (
      <>
        <dt>{t("error")}</dt>
        <dd>
          <Reported text={error} /> {at && <Ago at={at} />}
        </dd>
      </>
    )
  );
};
