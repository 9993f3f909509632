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
import { decoded } from "./decode.ts";
import { DISCARD, LETTER, RETRY } from "./query.ts";

const PRESENT = graphql(`
  query PresentState($id: ID!) {
    eventHistory(aggregateId: $id, limit: 1000) {
      event {
        eventType
        eventVersion
        insertedAt
      }
      after
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
                      run={() => send(RETRY, { id })}
                      done={again}
                      confirm={{ title: t("letters.retry"), text: t.n("letters.retry.what", 1) }}
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
  const t = useT();
  const id = /-(.+)$/.exec(subject ?? "")?.[1] ?? "";
  const asked = useAsk(PRESENT, { id }, { pause: !id });
  if (!id) return null;
  return (
    <>
      <h3>{t("letters.present")}</h3>
      <Answer asked={asked}>
        {({ eventHistory }) => {
          const last = eventHistory?.at(-1);
          const later = eventHistory?.filter(({ event }) => Date.parse(event.insertedAt) > Date.parse(since)).length ?? 0;
          return (
            <>
              <p>{later > 0 ? t.n("letters.changedSince", later) : t("letters.unchanged")}</p>
              <Json value={last?.after} />
            </>
          );
        }}
      </Answer>
    </>
  );
};
