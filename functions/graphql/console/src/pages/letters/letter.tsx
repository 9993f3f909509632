import { Link } from "wouter";

import { graphql } from "../../api/graphql.ts";
import { useAsk } from "../../api/use-ask.ts";
import { useT } from "../../i18n/index.tsx";
import { Reported } from "../../i18n/said.tsx";
import { ActButton, send } from "../../ui/act.tsx";
import { Answer } from "../../ui/answer.tsx";
import { Status } from "../../ui/badge.tsx";
import { Button } from "../../ui/button.tsx";
import { Json } from "../../ui/json.tsx";
import { Table } from "../../ui/table.tsx";
import { Ago, Time } from "../../ui/time.tsx";
import { NOW } from "../order/query.ts";
import { decoded } from "./decode.ts";
import { DISCARD, LETTER, RETRY } from "./query.ts";
import { subjectOf } from "./subject.ts";

const PRESENT = graphql(`
  query PresentState(
    $id: ID!
    $isCategory: Boolean!
    $isProduct: Boolean!
    $isOrder: Boolean!
    $now: DateTime!
    $since: DateTime!
  ) {
    category(id: $id, asOf: $now) @include(if: $isCategory) {
      name
      description
      parentId
      active
      updatedAt
    }
    product(id: $id, asOf: $now) @include(if: $isProduct) {
      name
      description
      price
      currency
      categoryId
      stockQuantity
      reservedQuantity
      active
      updatedAt
    }
    order(id: $id, asOf: $now) @include(if: $isOrder) {
      userId
      status
      totalAmount
      currency
      items {
        productId
        productName
        quantity
        unitPrice
      }
      paymentId
      shippingId
      reason
      updatedAt
    }
    eventsConnection(first: 0, filter: { aggregateId: $id, recordedAfter: $since }) {
      totalCount
    }
  }
`);

type Props = { id: string; close: () => void; done: () => void };

/** One dead letter beside the present state of what it concerns, so that it is clear what a retry would meet. */
export const Letter = ({ id, close, done }: Props) => {
  const t = useT();
  const asked = useAsk(LETTER, { id });
  const again = () => {
    asked.again();
    done();
  };
  return (
    <section className="panel" aria-labelledby="letter">
      <Answer asked={asked} missing={t("letters.noSuch", { id })}>
        {({ deadLetter: letter }) =>
          letter && (
            <>
              <div className="row between">
                <h2 id="letter">
                  {letter.type ?? letter.id} <Status of={letter.status} />
                </h2>
                <Button onClick={close}>{t("act.close")}</Button>
              </div>
              <div className="row">
                {letter.status === "PENDING" && (
                  <>
                    <ActButton
                      permission="admin"
                      kind="main"
                      run={(reason) => send(RETRY, { id, reason: reason || null })}
                      done={again}
                      confirm={{ title: t("letters.retry"), text: t.n("letters.retry.what", 1), reason: "optional" }}
                    >
                      {t("letters.retry")}
                    </ActButton>
                    <ActButton
                      permission="admin"
                      kind="danger"
                      run={(reason) => send(DISCARD, { id, reason })}
                      done={again}
                      confirm={{ title: t("letters.discard"), text: t.n("letters.discard.what", 1), reason: "required" }}
                    >
                      {t("letters.discard")}
                    </ActButton>
                  </>
                )}
                {letter.orderId && (
                  <Link className="button" href={`/orders/${letter.orderId}`}>
                    {t("stuck.open.order")}
                  </Link>
                )}
                {letter.correlationId && (
                  <Link className="button" href={`/events?correlation=${letter.correlationId}`}>
                    {t("events.sameCorrelation")}
                  </Link>
                )}
              </div>
              <dl className="facts">
                <dt>{t("letters.source")}</dt>
                <dd>
                  <code>{letter.source}</code>
                </dd>
                <dt>{t("error")}</dt>
                <dd>{letter.error ? <Reported text={letter.error} /> : t("letters.noError")}</dd>
                {letter.firstError && letter.firstError !== letter.error && (
                  <>
                    <dt>{t("letters.firstError")}</dt>
                    <dd>
                      <Reported text={letter.firstError} />
                    </dd>
                  </>
                )}
                <dt>{t("sagas.attempts")}</dt>
                <dd>{letter.attempts}</dd>
                <dt>{t("letters.recorded")}</dt>
                <dd>
                  <Time at={letter.recordedAt} /> (<Ago at={letter.recordedAt} />)
                </dd>
              </dl>
              <div className="columns">
                <div>
                  <h3>{t("detail.payload")}</h3>
                  <Json value={decoded(letter.data)} />
                  <h3>{t("letters.attributes")}</h3>
                  <Json value={letter.attributes} />
                </div>
                <div>
                  <Present subject={letter.subject} since={letter.recordedAt} />
                  <h3>{t("letters.history")}</h3>
                  <Table
                    caption={t("letters.history")}
                    rows={letter.history}
                    keyOf={({ kind, at }) => `${kind} ${at}`}
                    columns={[
                      { name: t("time"), cell: ({ at }) => <Time at={at} /> },
                      { name: t("letters.what"), cell: ({ kind }) => kind },
                      { name: t("audit.who"), cell: ({ by }) => by ?? "" },
                      { name: t("order.reason"), cell: ({ reason }) => <span className="break">{reason}</span> },
                    ]}
                  />
                </div>
              </div>
            </>
          )
        }
      </Answer>
    </section>
  );
};

const Present = ({ subject, since }: { subject: string | null; since: string }) => {
  const about = subjectOf(subject);
  return about && <PresentState {...about} since={since} />;
};

/** The state is folded from the events: it is what a retry meets, also while the read models are late. */
const PresentState = ({ kind, id, since }: { kind: "category" | "product" | "order"; id: string; since: string }) => {
  const t = useT();
  const which = { isCategory: kind === "category", isProduct: kind === "product", isOrder: kind === "order" };
  const asked = useAsk(PRESENT, { id, ...which, now: NOW, since });
  return (
    <>
      <h3>{t("letters.present")}</h3>
      <Answer asked={asked}>
        {({ category, product, order, eventsConnection }) => {
          const state = category ?? product ?? order;
          return (
            <>
              {eventsConnection && <Since number={eventsConnection.totalCount} />}
              {state && <Json value={state} />}
            </>
          );
        }}
      </Answer>
    </>
  );
};

const Since = ({ number }: { number: number | null }) => {
  const t = useT();
  if (number === null) return null;
  return <p>{number > 0 ? t.n("letters.changedSince", number) : t("letters.unchanged")}</p>;
};
