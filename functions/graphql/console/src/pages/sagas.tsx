import { useState } from "react";
import { Link } from "wouter";

import { graphql, type ResultOf } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { useLive } from "../api/use-live.ts";
import { useT } from "../i18n/index.tsx";
import { Reported } from "../i18n/said.tsx";
import { ActButton, type Outcome, send } from "../ui/act.tsx";
import { useViewer } from "../session/viewer.tsx";
import { Answer } from "../ui/answer.tsx";
import { each, outcomeOf } from "../ui/each.ts";
import { Status } from "../ui/badge.tsx";
import { Choice, Filters, MomentFilter, TextFilter } from "../ui/filters.tsx";
import { shortId } from "../ui/format.ts";
import { LiveSign } from "../ui/live.tsx";
import { pageOf, Pager } from "../ui/pager.tsx";
import { Personal } from "../ui/personal.tsx";
import { Table } from "../ui/table.tsx";
import { Ago, Time } from "../ui/time.tsx";
import { useUrl } from "../ui/use-url.ts";
import { PutRight } from "./order/put-right.tsx";
import { RETRY } from "./order/query.ts";
import { SagaGraph } from "./saga-graph.tsx";

const SAGAS = graphql(`
  query Sagas($first: Int, $after: String, $last: Int, $before: String, $filter: SagaFilterInput) {
    sagasConnection(first: $first, after: $after, last: $last, before: $before, filter: $filter) {
      totalCount
      pageInfo {
        hasNextPage
        hasPreviousPage
        startCursor
        endCursor
      }
      edges {
        node {
          id
          sagaType
          status
          currentStep
          attempts
          deadlineAt
          createdAt
          updatedAt
          reason
          steps {
            name
          }
        }
      }
    }
  }
`);

const STUCK_IDS = graphql(`
  query StuckSagas($filter: SagaFilterInput) {
    sagasConnection(first: 100, filter: $filter) {
      edges {
        node {
          id
        }
      }
    }
  }
`);

const MOVES = graphql(`
  subscription SagaMoves {
    sagaUpdates {
      id
    }
  }
`);

const STATUSES = ["ACTIVE", "STARTED", "COMPENSATING", "STUCK", "COMPLETED", "FAILED", "COMPENSATED"] as const;
const REFRESH_MS = 1_000;

type Saga = NonNullable<ResultOf<typeof SAGAS>["sagasConnection"]>["edges"][number]["node"];

const Sagas = () => {
  const t = useT();
  const [url] = useUrl();
  const filter = {
    status: url.get("status"),
    startedAfter: url.get("from"),
    startedBefore: url.get("to"),
    orderId: url.get("order"),
  };
  const asked = useAsk(SAGAS, { ...pageOf(url), filter }, { every: 10_000 });
  const refresh = useThrottled(asked.again, REFRESH_MS);
  const live = useLive(MOVES, {}, refresh);
  return (
    <>
      <div className="row between">
        <h1>{t("nav.sagas")}</h1>
        <LiveSign live={live} />
      </div>
      <SagaGraph />
      <Filters>
        <Choice name="status" label={t("status")} options={STATUSES} />
        <TextFilter name="order" label={t("orders.order")} hint={t("filter.id")} />
        <MomentFilter name="from" label={t("filter.from")} />
        <MomentFilter name="to" label={t("filter.to")} />
        {filter.status === "STUCK" && <RetryAll filter={filter} done={asked.again} />}
      </Filters>
      <Answer
        asked={asked}
        isEmpty={({ sagasConnection }) => sagasConnection?.edges.length === 0}
        empty={<p>{t("sagas.none")}</p>}
      >
        {({ sagasConnection }) =>
          sagasConnection && (
            <>
              <SagaTable sagas={sagasConnection.edges.map(({ node }) => node)} done={asked.again} />
              <Pager info={sagasConnection.pageInfo} total={sagasConnection.totalCount} />
            </>
          )
        }
      </Answer>
    </>
  );
};

const useThrottled = (run: () => void, milliseconds: number): (() => void) => {
  const [until, setUntil] = useState(0);
  return () => {
    const now = Date.now();
    if (now < until) return;
    setUntil(now + milliseconds);
    setTimeout(run, milliseconds);
  };
};

const SagaTable = ({ sagas, done }: { sagas: readonly Saga[]; done: () => void }) => {
  const t = useT();
  return (
    <Table
      caption={t("nav.sagas")}
      rows={sagas}
      keyOf={({ id }) => id}
      columns={[
        {
          name: t("orders.order"),
          cell: ({ id }) => (
            <Link href={`/orders/${id}`}>
              <code>{shortId(id)}</code>
            </Link>
          ),
        },
        { name: t("status"), cell: ({ status }) => <Status of={status} /> },
        { name: t("orders.step"), cell: ({ currentStep }) => currentStep ?? "" },
        { name: t("sagas.attempts"), number: true, cell: ({ attempts }) => attempts },
        {
          name: t("steps.deadline"),
          cell: ({ deadlineAt }) => (deadlineAt ? <Time at={deadlineAt} /> : "–"),
        },
        { name: t("sagas.started"), cell: ({ createdAt }) => <Ago at={createdAt} /> },
        { name: t("updated"), cell: ({ updatedAt }) => <Ago at={updatedAt} /> },
        { name: t("order.reason"), cell: ({ reason, status }) => <Reason reason={reason} status={status} /> },
        {
          name: t("actions"),
          cell: ({ id, status, steps }) =>
            status === "STUCK" && <PutRight id={id} steps={steps} done={done} />,
        },
      ]}
    />
  );
};

const HAVE_REASON = ["COMPENSATING", "STUCK", "FAILED"];
/** What a saga keeps of the event that turned it back. */
const EVENT_NAME = /^[A-Z][A-Za-z]+$/;

/** Why a saga has turned back. Only admins are told: it may be a customer's own words. */
const Reason = ({ reason, status }: { reason: string | null; status: string }) => {
  const t = useT();
  const viewer = useViewer();
  if (reason === null && !viewer.may("admin") && HAVE_REASON.includes(status)) return <small>{t("hidden")}</small>;
  return (
    reason && (
      <Personal of={reason}>
        {EVENT_NAME.test(reason) ? <code>{reason}</code> : <Reported text={reason} />}
      </Personal>
    )
  );
};

type Filter = {
  status: string | null;
  startedAfter: string | null;
  startedBefore: string | null;
  orderId: string | null;
};

const RetryAll = ({ filter, done }: { filter: Filter; done: () => void }) => {
  const t = useT();
  const [progress, setProgress] = useState<string>();
  const asked = useAsk(STUCK_IDS, { filter });
  const ids = asked.data?.sagasConnection?.edges.map(({ node }) => node.id) ?? [];
  const run = async (reason: string): Promise<Outcome<unknown>> => {
    const retry = (id: string) => send(RETRY, { id, reason: reason || null });
    const refused = await each(ids, retry, (n) => setProgress(t("progress", { n, of: ids.length })));
    setProgress(undefined);
    asked.again();
    if (refused.length > 0) done();
    return outcomeOf(ids.length, refused, (values) => t("batch.failed", values));
  };
  return (
    <ActButton
      permission="admin"
      run={run}
      done={done}
      confirm={{
        title: t("sagas.retryAll"),
        text: (
          <>
            {t.n("sagas.retryAll.what", ids.length)} <span role="status">{progress}</span>
          </>
        ),
        reason: "optional",
      }}
    >
      {t("sagas.retryAll")}
    </ActButton>
  );
};

export default Sagas;
