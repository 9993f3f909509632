import { useState } from "react";
import { Link } from "wouter";

import { isRefusal } from "../../api/failure.ts";
import type { ResultOf } from "../../api/graphql.ts";
import { type Asked, useAsk } from "../../api/use-ask.ts";
import { useLive } from "../../api/use-live.ts";
import { useT } from "../../i18n/index.tsx";
import { Reported } from "../../i18n/said.tsx";
import { session } from "../../session/session.ts";
import { useViewer } from "../../session/viewer.tsx";
import { ActButton, send } from "../../ui/act.tsx";
import { Answer, Failed } from "../../ui/answer.tsx";
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
import { Lanes, Legend } from "./lanes.tsx";
import { type Shown, shownIn } from "./lists.ts";
import { Moment } from "./moment.tsx";
import { exact } from "./moments.ts";
import { CANCEL, ENDED, NOW, ORDER, type OrderData, READ, SAGA, UPDATES } from "./query.ts";
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
  const [agreed, setAgreed] = useState(false);
  const often = settled ? {} : { every: EVERY_MS };
  const asked = useAsk(ORDER, { id, now: NOW }, often);
  const askedSaga = useAsk(SAGA, { id }, often);
  const order = asked.data?.order;
  const unknown = asked.failure !== undefined && isRefusal(asked.failure.code) && !order;
  const read = useAsk(READ, { id }, agreed ? {} : { every: EVERY_MS, pause: unknown });
  const again = () => {
    asked.again();
    askedSaga.again();
  };
  const live = useLive(UPDATES, { id }, again, { pause: unknown });
  const ended = order ? ENDED.includes(order.status) && Date.now() - Date.parse(order.updatedAt) > SETTLED_MS : false;
  if (ended !== settled) setSettled(ended);
  const shown = order ? shownIn(order.status, read.data?.order?.status, read.failure) : undefined;
  if ((shown === "same") !== agreed) setAgreed(shown === "same");
  const moment = exact(url.get("at") ?? "");
  const chosen = url.get("step");
  const saga = askedSaga.data?.saga ?? null;
  const history = asked.data?.eventHistory ?? [];
  const choose = (step: string | undefined) => change({ step });
  return (
    <>
      <div className="row between">
        <h1>
          {t("orders.order")} <code className="break">{id}</code>
        </h1>
        {!ended && !unknown && <LiveSign live={live} />}
      </div>
      <Answer asked={asked} missing={t("order.noSuch", { id })}>
        {() =>
          order && (
            <>
              {!asked.failure && <Late shown={shown} read={read} />}
              <Facts order={order} again={again} />
              {!ENDED.includes(order.status) && (
                <WhyStuck id={id} hidden={order.userId === MASKED}>
                  {saga?.status === "STUCK" && <PutRight id={id} steps={saga.steps} done={again} kind="main" />}
                </WhyStuck>
              )}
              <section className="panel">
                <h2>{t("lanes.title")}</h2>
                <p className="note">{t("lanes.note")}</p>
                <Moment order={order} history={history} moment={moment} />
                <Lanes entries={order.timeline} saga={saga} chosen={chosen} moment={moment} choose={choose} />
                <Legend />
                <Detail entries={order.timeline} chosen={chosen} history={history} saga={saga} choose={choose} />
              </section>
            </>
          )
        }
      </Answer>
      <div className="columns narrow-first">
        {(order || saga) && <Saga asked={askedSaga} moment={moment} />}
        {order && <TimelineList entries={order.timeline} chosen={chosen} choose={choose} />}
      </div>
    </>
  );
};

/** The saga's steps. A new order has no saga for a moment, which is no failure. */
const Saga = ({ asked, moment }: { asked: Asked<ResultOf<typeof SAGA>>; moment: string | null }) => {
  const t = useT();
  const notBegun = !asked.data && asked.failure?.code === "NOT_FOUND";
  return (
    <section className="panel">
      <h2>{t("steps.title")}</h2>
      <p className="note">
        {t("steps.note")} <Link href="/glossary">{t("nav.glossary")}</Link>
      </p>
      {notBegun ? (
        <p>{t("steps.notBegun")}</p>
      ) : (
        <Answer asked={asked}>{({ saga }) => saga && <SagaSteps saga={saga} moment={moment} />}</Answer>
      )}
    </section>
  );
};

/** Say that lists and queries do not show the order as it is here, and where to see why. */
const Late = ({ shown, read }: { shown: Shown | undefined; read: Asked<ResultOf<typeof READ>> }) => {
  const t = useT();
  if (shown === "failed" && read.failure) {
    return (
      <>
        <p className="note">{t("order.listsFailed")}</p>
        <Failed failure={read.failure} again={read.again} />
      </>
    );
  }
  if (shown !== "behind" && shown !== "missing") return null;
  const status = t.status(read.data?.order?.status ?? "");
  return (
    <p className="note">
      {shown === "behind" ? t("order.late", { status }) : t("order.missing")}{" "}
      <Link href="/read-models">{t("stuck.open.readModels")}</Link>
    </p>
  );
};

const Facts = ({ order, again }: { order: OrderData; again: () => void }) => {
  const t = useT();
  const viewer = useViewer();
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
              refused={viewer.may("write") && order.userId === MASKED ? t("masked") : undefined}
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
