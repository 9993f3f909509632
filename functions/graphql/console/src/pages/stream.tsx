import { Link } from "wouter";

import { graphql } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { Answer } from "../ui/answer.tsx";
import { Button } from "../ui/button.tsx";
import { Changes } from "../ui/changes.tsx";
import { Json } from "../ui/json.tsx";
import { Table } from "../ui/table.tsx";
import { Time } from "../ui/time.tsx";
import { useUrl } from "../ui/use-url.ts";
import { Causation } from "./causation.tsx";
import { HISTORY_ENTRY } from "./logged-event.ts";

const HISTORY = graphql(`
  query StreamHistory($id: ID!, $after: Int!) {
    eventHistory(aggregateId: $id, limit: 101, afterVersion: $after) {
      ...EntryOfHistory
    }
  }
`, [HISTORY_ENTRY]);

/** One less than the query asks for: the one more tells whether there are later events. */
const LENGTH = 100;

/** One stream: each event with the state before and after it, and what differs. */
const Stream = ({ id }: { id: string }) => {
  const t = useT();
  const [url, change] = useUrl();
  const wanted = Number(url.get("version") ?? 0);
  const from = url.get("from");
  const after = from === null ? Math.max(0, wanted - LENGTH / 2) : Number(from);
  const asked = useAsk(HISTORY, { id, after });
  return (
    <>
      <h1>
        {t("stream.title")} <code className="break">{id}</code>
      </h1>
      <Answer
        asked={asked}
        missing={t("stream.noSuch", { id })}
        isEmpty={({ eventHistory }) => after === 0 && eventHistory?.length === 0}
        empty={<p>{t("events.none")}</p>}
      >
        {({ eventHistory }) => {
          const entries = (eventHistory ?? []).slice(0, LENGTH);
          const goesOn = (eventHistory ?? []).length > LENGTH;
          const chosen = entries.find(({ event }) => event.eventVersion === wanted) ?? entries.at(-1);
          const isOrder = entries[0]?.event.aggregateType === "order";
          return (
            <>
              <div className="row">
                {isOrder && (
                  <Link className="button" href={`/orders/${id}`}>
                    {t("stuck.open.order")}
                  </Link>
                )}
                {after > 0 && (
                  <Button
                    onClick={() => change({ from: String(Math.max(0, after - LENGTH)), version: undefined }, false)}
                  >
                    {t("stream.earlier")}
                  </Button>
                )}
                {goesOn && (
                  <Button onClick={() => change({ from: String(after + LENGTH), version: undefined }, false)}>
                    {t("stream.later")}
                  </Button>
                )}
              </div>
              {entries.length === 0 ? (
                <p className="empty">{t("stream.end")}</p>
              ) : (
                <div className="columns">
                  <Table
                    caption={t("stream.title")}
                    rows={entries}
                    keyOf={({ event }) => String(event.id)}
                    columns={[
                      { name: t("stream.version"), number: true, cell: ({ event }) => event.eventVersion },
                      {
                        name: t("events.type"),
                        cell: ({ event }) => (
                          <Button
                            pressed={event.eventVersion === chosen?.event.eventVersion}
                            onClick={() => change({ version: String(event.eventVersion) })}
                          >
                            {event.eventType}
                          </Button>
                        ),
                      },
                      { name: t("time"), cell: ({ event }) => <Time at={event.insertedAt} /> },
                    ]}
                  />
                  {chosen && (
                    <section className="panel" aria-live="polite">
                      <h2>
                        {chosen.event.eventType} <small>v{chosen.event.eventVersion}</small>
                      </h2>
                      <Causation id={chosen.event.id} />
                      <Changes changes={chosen.changes} />
                      <h3>{t("events.data")}</h3>
                      <Json value={chosen.event.eventData} />
                      <h3>{t("events.metadata")}</h3>
                      {chosen.event.metadata ? (
                        <Json value={chosen.event.metadata} />
                      ) : (
                        <p className="note">{t("masked")}</p>
                      )}
                      <h3>{t("changes.before")}</h3>
                      <Json value={chosen.before} />
                      <h3>{t("changes.after")}</h3>
                      <Json value={chosen.after} />
                    </section>
                  )}
                </div>
              )}
            </>
          );
        }}
      </Answer>
    </>
  );
};

export default Stream;
