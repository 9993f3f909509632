
import { graphql, type ResultOf } from "../api/graphql.ts";
import { PAGE_INFO } from "../api/page-info.ts";
import { useAsk } from "../api/use-ask.ts";
import { useLive } from "../api/use-live.ts";
import { useT } from "../i18n/index.tsx";
import { Reported } from "../i18n/said.tsx";
import { send } from "../ui/act.tsx";
import { useViewer } from "../session/viewer.tsx";
import { Status } from "../ui/badge.tsx";
import { BatchButton, idsOf } from "../ui/batch.tsx";
import { all } from "../ui/each.ts";
import { Choice, Filters, MomentFilter, TextFilter } from "../ui/filters.tsx";
import { LiveSign } from "../ui/live.tsx";
import { momentIn } from "../ui/moments.ts";
import { Paged } from "../ui/paged.tsx";
import { pageOf } from "../ui/pager.tsx";
import { Personal } from "../ui/personal.tsx";
import { Table } from "../ui/table.tsx";
import { Ago, Time } from "../ui/time.tsx";
import { useThrottled } from "../ui/use-throttled.ts";
import { useUrl } from "../ui/use-url.ts";
import { PutRight } from "./order/put-right.tsx";
import { RETRY } from "./order/query.ts";
import { SagaGraph } from "./saga-graph.tsx";
import { OrderLink } from "./order-link.tsx";

const SAGAS = graphql(`
  query Sagas($first: Int, $after: String, $last: Int, $before: String, $filter: SagaFilterInput) {
    sagasConnection(first: $first, after: $after, last: $last, before: $before, filter: $filter) {
      totalCount
      pageInfo {
        ...PageOfConnection
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
`, [PAGE_INFO]);

const STUCK_IDS = graphql(`
  query StuckSagas($after: String, $filter: SagaFilterInput) {
    sagasConnection(first: 500, after: $after, filter: $filter, sortOrder: ASC) {
      pageInfo {
        endCursor
      }
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
    startedAfter: momentIn(url.get("from")),
    startedBefore: momentIn(url.get("to")),
    orderId: url.get("order"),
    currentStep: url.get("step"),
  };
  const asked = useAsk(SAGAS, { ...pageOf(url), filter }, { every: 10_000 });
  const known = asked.data?.sagasConnection?.edges[0]?.node.steps.map(({ name }) => name) ?? [];
  const steps = [...new Set([...(filter.currentStep ? [filter.currentStep] : []), ...known])];
  const refresh = useThrottled(asked.again, REFRESH_MS);
  const live = useLive(MOVES, {}, refresh, { resume: false });
  return (
    <>
      <div className="row between">
        <h1>{t("nav.sagas")}</h1>
        <LiveSign live={live} />
      </div>
      <SagaGraph />
      <Filters>
        <Choice name="status" label={t("status")} options={STATUSES} />
        <Choice name="step" label={t("sagas.step")} options={steps} />
        <TextFilter name="order" label={t("orders.order")} hint={t("filter.id")} />
        <MomentFilter name="from" label={t("filter.from")} />
        <MomentFilter name="to" label={t("filter.to")} />
        <RetryAll
          key={JSON.stringify(filter)}
          filter={filter}
          total={asked.failure ? undefined : asked.data?.sagasConnection?.totalCount}
          again={asked.again}
        />
      </Filters>
      <Paged asked={asked} of={({ sagasConnection }) => sagasConnection} empty={<p>{t("sagas.none")}</p>}>
        {(sagas) => <SagaTable sagas={sagas} done={asked.again} />}
      </Paged>
    </>
  );
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
          cell: ({ id }) => <OrderLink id={id} />,
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

type RetryProps = { filter: Filter; total: number | null | undefined; again: () => void };

const RetryAll = ({ filter, total, again }: RetryProps) => {
  const t = useT();
  return (
    <BatchButton
      title={t("sagas.retryAll")}
      number={total}
      text={(n) => t.n("sagas.retryAll.what", n)}
      refused={filter.status === "STUCK" ? undefined : t("sagas.retryAll.stuck")}
      reason="optional"
      run={(reason, options) => {
        const next = idsOf(STUCK_IDS, filter, ({ sagasConnection }) => sagasConnection);
        return all(next, (id) => send(RETRY, { id, reason: reason || null }), options);
      }}
      ended={again}
    />
  );
};

export default Sagas;
