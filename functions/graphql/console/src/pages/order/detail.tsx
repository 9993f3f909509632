import { Link } from "wouter";

import { useT } from "../../i18n/index.tsx";
import { Reported } from "../../i18n/said.tsx";
import { Changes } from "../../ui/changes.tsx";
import { durationOf } from "../../ui/format.ts";
import { Json } from "../../ui/json.tsx";
import { Time } from "../../ui/time.tsx";
import { useShown } from "../../ui/use-shown.ts";
import { keyOf } from "./lanes.ts";
import type { Entry, HistoryEntry, SagaData } from "./query.ts";

type Props = {
  entries: readonly Entry[];
  chosen: string | null;
  history: readonly HistoryEntry[];
  saga: SagaData | null;
};

/** What the chosen step of the timeline carried, and what it changed. */
export const Detail = ({ entries, chosen, history, saga }: Props) => {
  const t = useT();
  const entry = entries.find((one) => keyOf(one) === chosen);
  const place = useShown<HTMLElement>(entry ? keyOf(entry) : "");
  if (!entry) return null;
  const at = Date.parse(entry.at);
  const event = history.find(
    ({ event }) => event.eventType === entry.name && Date.parse(event.insertedAt) === at,
  );
  const command = saga?.commandsDispatched?.find(
    ({ commandType, timestamp }) => commandType === entry.name && Date.parse(timestamp) === at,
  );
  const product = /^product-(.+)$/.exec(entry.subject ?? "")?.[1];
  return (
    <section ref={place} className="panel" aria-live="polite">
      <h3>
        {entry.name} <small>{entry.kind}</small>
      </h3>
      <dl className="facts">
        <dt>{t("time")}</dt>
        <dd>
          <Time at={entry.at} precise />
        </dd>
        {entry.status && (
          <>
            <dt>{t("status")}</dt>
            <dd>{entry.status}</dd>
          </>
        )}
        {entry.durationMs !== null && (
          <>
            <dt>{t("duration")}</dt>
            <dd>{durationOf(entry.durationMs, t.language)}</dd>
          </>
        )}
        {product && (
          <>
            <dt>{t("product")}</dt>
            <dd>
              <Link href={`/events/${product}`}>{product}</Link>
            </dd>
          </>
        )}
        {entry.error && (
          <>
            <dt>{t("error")}</dt>
            <dd>
              <Reported text={entry.error} />
            </dd>
          </>
        )}
      </dl>
      {event && (
        <>
          <Changes changes={event.changes} />
          <h3>{t("detail.payload")}</h3>
          <Json value={event.event.eventData} />
        </>
      )}
      {command && (
        <>
          <h3>{t("detail.payload")}</h3>
          <Json value={command.commandData} />
        </>
      )}
    </section>
  );
};
