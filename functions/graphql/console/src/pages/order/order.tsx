import { useState } from "react";
import { Link } from "wouter";

import { isRefusal } from "../../api/failure.ts";
import type { ResultOf } from "../../api/graphql.ts";
import { type Asked, useAsk } from "../../api/use-ask.ts";
import { useLive } from "../../api/use-live.ts";
import { useT } from "../../i18n/index.tsx";
import { Reported } from "../../i18n/said.tsx";
import { session } from "../../session/session.ts";
import { ActButton, send } from "../../ui/act.tsx";
import { Answer } from "../../ui/answer.tsx";
import { Status } from "../../ui/badge.tsx";
import { MASKED } from "../../ui/erased.ts";
import { moneyOf } from "../../ui/format.ts";
import { LiveSign } from "../../ui/live.tsx";
import { Personal } from "../../ui/personal.tsx";
import { Table } from "../../ui/table.tsx";
import { Time } from "../../ui/time.tsx";
import { useUrl } from "../../ui/use-url.ts";
import { Customer } from "./customer.tsx";
import { Detail } from "./detail.tsx";
import { Lanes } from "./lanes.tsx";
import { Moment } from "./moment.tsx";
import { CANCEL, ENDED, NOW, ORDER, type OrderData, READ, UPDATES } from "./query.ts";
import { PutRight } from "./put-right.tsx";
import { SagaSteps } from "./steps.tsx";
import { TimelineList } from "./timeline-list.tsx";
import { WhyStuck } from "./why-stuck.tsx";

const EVERY_MS = 3_000;
/** After its end the read models and the last deliveries still follow. */
const SETTLED_MS = 15_000;

const OrderPage = ({ id }: { id: string }) => {
  const t = useT();
  const [url, change] = useUrl();
  const [settled, setSettled] = useState(false);
  const asked = useAsk(ORDER, { id, now: NOW }, settled ? {} : { every: EVERY_MS });
  const read = useAsk(READ, { id }, settled ? {} : { every: EVERY_MS });
  const unknown = asked.failure && isRefusal(asked.failure.code) && !asked.data?.order;
  const live = useLive(UPDATES, { id }, () => asked.again(), unknown);
  const order = asked.data?.order;
  const ended = order ? ENDED.includes(order.status) && Date.now() - Date.parse(order.updatedAt) > SETTLED_MS : false;
  if (ended !== settled) setSettled(ended);
  const at = url.get("at");
  const moment = at ? Date.parse(at) : null;
  const chosen = url.get("step");
  const saga = asked.data?.saga ?? null;
  const history = asked.data?.eventHistory ?? [];
  return (
    <>
      <div className="row between">
        <h1>
          {t("orders.order")} <code className="break">{id}</code>
        </h1>
        {!ended && !unknown && <LiveSign live={live} />}
      </div>
      <Answer asked={asked} missing={order ? undefined : t("order.noSuch", { id })}>
        {() => (
          <>
            {order && <Late status={order.status} read={read} />}
            {order && <Facts order={order} again={asked.again} />}
            {order && !ENDED.includes(order.status) && (
              <WhyStuck id={id} hidden={order.userId === MASKED}>
                {saga?.status === "STUCK" && <PutRight id={id} steps={saga.steps} done={asked.again} kind="main" />}
              </WhyStuck>
            )}
            {order && (
              <section className="panel">
                <h2>{t("lanes.title")}</h2>
                <Moment order={order} saga={saga} history={history} moment={moment} />
                <Lanes
                  entries={order.timeline}
                  saga={saga}
                  chosen={chosen}
                  moment={moment}
                  choose={(step) => change({ step })}
                />
                <Detail entries={order.timeline} chosen={chosen} history={history} saga={saga} />
              </section>
            )}
            <div className="columns">
              {saga && <SagaSteps saga={saga} moment={moment} />}
              {order && (
                <TimelineList entries={order.timeline} chosen={chosen} choose={(step) => change({ step })} />
              )}
            </div>
          </>
        )}
      </Answer>
    </>
  );
};

/** Say that lists and queries do not show the order as it is here, and where to see why. */
const Late = ({ status, read }: { status: string; read: Asked<ResultOf<typeof READ>> }) => {
  const t = useT();
  const shown = read.data?.order?.status;
  if (shown === status || (!read.failure && !shown)) return null;
  return (
    <p className="note">
      {shown ? t("order.late", { status: shown }) : t("order.missing")}{" "}
      <Link href="/read-models">{t("stuck.open.readModels")}</Link>
    </p>
  );
};

const Facts = ({ order, again }: { order: OrderData; again: () => void }) => {
  const t = useT();
  const { id, currency } = order;
  const money = (amount: string) => moneyOf(amount, currency, t.language);
  return (
    <section className="panel">
      <div className="row between">
        <strong>
          <Status of={order.status} /> {money(order.totalAmount)}
        </strong>
        <span className="row">
          <Link href={`/events/${id}`} className="button">
            {t("order.events")}
          </Link>
          {session.where.traces && (
            <a href={session.where.traces.replace("{order}", id)} className="button" target="_blank" rel="noreferrer">
              {t("order.spans")}
            </a>
          )}
          {!ENDED.includes(order.status) && (
            <ActButton
              permission="write"
              kind="danger"
              run={(reason) => send(CANCEL, { id, reason: reason || null })}
              done={again}
              confirm={{ title: t("order.cancel"), text: t("order.cancel.what"), reason: "optional" }}
            >
              {t("order.cancel")}
            </ActButton>
          )}
        </span>
      </div>
      <dl className="facts">
        <dt>{t("orders.user")}</dt>
        <dd>
          <Customer userId={order.userId} done={again} />
        </dd>
        <dt>{t("orders.created")}</dt>
        <dd>
          <Time at={order.createdAt} />
        </dd>
        {order.reason && (
          <>
            <dt>{t("order.reason")}</dt>
            <dd>
              <Personal of={order.reason}>
                <Reported text={order.reason} />
              </Personal>
            </dd>
          </>
        )}
        {order.paymentId && (
          <>
            <dt>{t("order.payment")}</dt>
            <dd>
              <Personal of={order.paymentId} />
            </dd>
          </>
        )}
        {order.shippingId && (
          <>
            <dt>{t("order.shipping")}</dt>
            <dd>
              <Personal of={order.shippingId} />
            </dd>
          </>
        )}
      </dl>
      <Table
        caption={t("orders.items")}
        rows={order.items}
        keyOf={({ productId }) => productId}
        columns={[
          {
            name: t("product"),
            cell: ({ productId, productName }) => <Link href={`/products/${productId}`}>{productName}</Link>,
          },
          { name: t("product.quantity"), number: true, cell: ({ quantity }) => quantity },
          { name: t("product.price"), number: true, cell: ({ unitPrice }) => money(unitPrice) },
          { name: t("order.subtotal"), number: true, cell: ({ subtotal }) => money(subtotal) },
        ]}
      />
    </section>
  );
};

export default OrderPage;
