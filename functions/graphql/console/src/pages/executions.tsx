import { Link } from "wouter";

import { graphql } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { Reported } from "../i18n/said.tsx";
import { Answer } from "../ui/answer.tsx";
import { Status } from "../ui/badge.tsx";
import { Button } from "../ui/button.tsx";
import { Choice, Filters, MomentFilter, TextFilter } from "../ui/filters.tsx";
import { durationOf } from "../ui/format.ts";
import { Json } from "../ui/json.tsx";
import { pageOf, Pager } from "../ui/pager.tsx";
import { Table } from "../ui/table.tsx";
import { Request } from "../ui/request.tsx";
import { Ago } from "../ui/time.tsx";
import { useUrl } from "../ui/use-url.ts";

const EXECUTIONS = graphql(`
  query Executions(
    $first: Int
    $after: String
    $last: Int
    $before: String
    $filter: ExecutionFilterInput
    $sortBy: ExecutionSort
    $commands: Boolean!
  ) {
    commandExecutionsConnection(
      first: $first
      after: $after
      last: $last
      before: $before
      filter: $filter
      sortBy: $sortBy
    ) @include(if: $commands) {
      pageInfo {
        hasNextPage
        hasPreviousPage
        startCursor
        endCursor
      }
      edges {
        node {
          id
          commandType
          commandData
          aggregateId
          aggregateType
          executionTimeMs
          status
          errorMessage
          eventsGenerated
          timestamp
          correlationId
          traceId
        }
      }
    }
    queryExecutionsConnection(
      first: $first
      after: $after
      last: $last
      before: $before
      filter: $filter
      sortBy: $sortBy
    ) @skip(if: $commands) {
      pageInfo {
        hasNextPage
        hasPreviousPage
        startCursor
        endCursor
      }
      edges {
        node {
          id
          queryType
          queryParams
          resultCount
          executionTimeMs
          status
          errorMessage
          timestamp
          correlationId
          traceId
        }
      }
    }
  }
`);

const CODES = [
  "success",
  "INVALID_INPUT",
  "NOT_FOUND",
  "FORBIDDEN",
  "UNAUTHENTICATED",
  "BUSINESS_RULE_VIOLATION",
  "CONFLICT",
  "SERVICE_UNAVAILABLE",
  "TIMEOUT",
  "INTERNAL_ERROR",
];

type Row = {
  id: string;
  name: string;
  asked: unknown;
  milliseconds: number;
  status: string;
  error: string | null;
  at: string;
  subject: { id: string; type: string | null } | null;
  outcome: string;
  correlationId: string | null;
  traceId: string | null;
};

/** What was asked of the shop, how it went, what was slow and what failed. */
const Executions = () => {
  const t = useT();
  const [url, change] = useUrl();
  const commands = url.get("kind") !== "queries";
  const slowest = url.has("slowest");
  const filter = {
    name: url.get("name"),
    status: url.get("status"),
    recordedAfter: url.get("from"),
    recordedBefore: url.get("to"),
    correlationId: url.get("correlation"),
    traceId: url.get("trace"),
  };
  const sortBy = slowest ? ("DURATION" as const) : ("TIMESTAMP" as const);
  const asked = useAsk(EXECUTIONS, { ...pageOf(url), filter, sortBy, commands }, { every: 10_000 });
  const fresh = { after: undefined, before: undefined, id: undefined };
  return (
    <>
      <h1>{t("nav.executions")}</h1>
      <Filters>
        <Button pressed={commands} onClick={() => change({ kind: undefined, name: undefined, ...fresh }, false)}>
          {t("executions.commands")}
        </Button>
        <Button pressed={!commands} onClick={() => change({ kind: "queries", name: undefined, ...fresh }, false)}>
          {t("executions.queries")}
        </Button>
        <Button pressed={slowest} onClick={() => change({ slowest: slowest ? undefined : "1", ...fresh }, false)}>
          {t("executions.slowest")}
        </Button>
        <TextFilter name="name" label={t("name")} hint={commands ? "CreateOrder" : "products"} />
        <Choice name="status" label={t("status")} options={CODES} />
        <TextFilter name="trace" label={t("events.trace")} hint={t("filter.trace")} />
        <MomentFilter name="from" label={t("filter.from")} />
        <MomentFilter name="to" label={t("filter.to")} />
      </Filters>
      <Answer
        asked={asked}
        isEmpty={(data) => (data.commandExecutionsConnection ?? data.queryExecutionsConnection)?.edges.length === 0}
        empty={<p>{t("executions.none")}</p>}
      >
        {({ commandExecutionsConnection, queryExecutionsConnection }) => {
          const rows: Row[] = [
            ...(commandExecutionsConnection?.edges ?? []).map(({ node }) => ({
              id: node.id,
              name: node.commandType,
              asked: node.commandData,
              milliseconds: node.executionTimeMs,
              status: node.status,
              error: node.errorMessage,
              at: node.timestamp,
              subject: node.aggregateId ? { id: node.aggregateId, type: node.aggregateType } : null,
              outcome: node.eventsGenerated?.join(", ") ?? "",
              correlationId: node.correlationId,
              traceId: node.traceId,
            })),
            ...(queryExecutionsConnection?.edges ?? []).map(({ node }) => ({
              id: node.id,
              name: node.queryType,
              asked: node.queryParams,
              milliseconds: node.executionTimeMs,
              status: node.status,
              error: node.errorMessage,
              at: node.timestamp,
              subject: null,
              outcome: node.resultCount === null ? "" : t.n("executions.results", node.resultCount),
              correlationId: node.correlationId,
              traceId: node.traceId,
            })),
          ];
          const info = (commandExecutionsConnection ?? queryExecutionsConnection)?.pageInfo;
          const chosen = rows.find(({ id }) => id === url.get("id"));
          return (
            <>
              <Table
                caption={t("nav.executions")}
                rows={rows}
                keyOf={({ id }) => id}
                columns={[
                  { name: t("time"), cell: ({ at }) => <Ago at={at} /> },
                  {
                    name: t("name"),
                    cell: ({ id, name }) => (
                      <Button
                        pressed={id === chosen?.id}
                        onClick={() => change({ id: id === chosen?.id ? undefined : id })}
                      >
                        {name}
                      </Button>
                    ),
                  },
                  { name: t("status"), cell: ({ status }) => <Status of={status} /> },
                  {
                    name: t("duration"),
                    number: true,
                    cell: ({ milliseconds }) => durationOf(milliseconds, t.language),
                  },
                  { name: t("executions.outcome"), cell: ({ outcome }) => outcome },
                  {
                    name: t("letters.subject"),
                    cell: ({ subject }) =>
                      subject && (
                        <Link href={subject.type === "order" ? `/orders/${subject.id}` : `/events/${subject.id}`}>
                          {subject.type}
                        </Link>
                      ),
                  },
                  { name: t("error"), cell: ({ error }) => error && <Reported text={error} /> },
                ]}
              />
              {info && <Pager info={info} />}
              {chosen && (
                <section className="panel" aria-live="polite">
                  <h2>{chosen.name}</h2>
                  <Request correlationId={chosen.correlationId} traceId={chosen.traceId} />
                  {chosen.asked === null ? <p className="note">{t("masked")}</p> : <Json value={chosen.asked} />}
                </section>
              )}
            </>
          );
        }}
      </Answer>
    </>
  );
};

export default Executions;
