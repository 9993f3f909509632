import { Link } from "wouter";

import { graphql, type ResultOf } from "../api/graphql.ts";
import { PAGE_INFO } from "../api/page-info.ts";
import { useAsk } from "../api/use-ask.ts";
import type { Translate } from "../i18n/catalogue.ts";
import { useT } from "../i18n/index.tsx";
import { Reported } from "../i18n/said.tsx";
import { Answer } from "../ui/answer.tsx";
import { Status } from "../ui/badge.tsx";
import { Button } from "../ui/button.tsx";
import { Choice, Filters, MomentFilter, TextFilter } from "../ui/filters.tsx";
import { durationOf } from "../ui/format.ts";
import { Json } from "../ui/json.tsx";
import { momentIn } from "../ui/moments.ts";
import { type Connection, Paged } from "../ui/paged.tsx";
import { pageOf } from "../ui/pager.tsx";
import { Request } from "../ui/request.tsx";
import { Table } from "../ui/table.tsx";
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
        ...PageOfConnection
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
        ...PageOfConnection
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
`, [PAGE_INFO]);

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
    recordedAfter: momentIn(url.get("from")),
    recordedBefore: momentIn(url.get("to")),
    correlationId: url.get("correlation"),
    traceId: url.get("trace"),
  };
  const sortBy = slowest ? ("DURATION" as const) : ("TIMESTAMP" as const);
  const asked = useAsk(EXECUTIONS, { ...pageOf(url), filter, sortBy, commands }, { every: 10_000 });
  const fresh = { after: undefined, before: undefined, id: undefined };
  const id = url.get("id");
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
      <Paged asked={asked} of={(data) => rowsOf(data, t)} empty={<p>{t("executions.none")}</p>}>
        {(rows) => (
          <Table
            caption={t("nav.executions")}
            rows={rows}
            keyOf={(row) => row.id}
            columns={[
              { name: t("time"), cell: ({ at }) => <Ago at={at} /> },
              {
                name: t("name"),
                cell: (row) => (
                  <Button pressed={row.id === id} onClick={() => change({ id: row.id === id ? undefined : row.id })}>
                    {row.name}
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
        )}
      </Paged>
      {id && <Chosen key={id} id={id} commands={commands} close={() => change({ id: undefined })} />}
    </>
  );
};

type ChosenProps = { id: string; commands: boolean; close: () => void };

/** One execution, which is asked for by its id: newer ones may have pushed it off the page of the list. */
const Chosen = ({ id, commands, close }: ChosenProps) => {
  const t = useT();
  const asked = useAsk(EXECUTIONS, { first: 1, filter: { id }, commands });
  const row = asked.data && rowsOf(asked.data, t)?.edges[0]?.node;
  return (
    <section className="panel" aria-live="polite">
      <div className="row between">
        <h2>{row?.name ?? <code className="break">{id}</code>}</h2>
        <Button onClick={close}>{t("act.close")}</Button>
      </div>
      <Answer asked={asked} isEmpty={() => !row} empty={<p className="note">{t("executions.noSuch")}</p>}>
        {() =>
          row && (
            <>
              <Request correlationId={row.correlationId} traceId={row.traceId} />
              {row.asked === null ? <p className="note">{t("masked")}</p> : <Json value={row.asked} />}
            </>
          )
        }
      </Answer>
    </section>
  );
};

/** Return the page of commands or of queries, whichever was asked for. */
const rowsOf = (
  { commandExecutionsConnection: commands, queryExecutionsConnection: queries }: ResultOf<typeof EXECUTIONS>,
  t: Translate,
): Connection<Row> | null | undefined =>
  (commands && {
    pageInfo: commands.pageInfo,
    edges: commands.edges.map(({ node }) => ({
      node: {
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
      },
    })),
  }) ??
  (queries && {
    pageInfo: queries.pageInfo,
    edges: queries.edges.map(({ node }) => ({
      node: {
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
      },
    })),
  });

export default Executions;
