import type { ReactNode } from "react";
import { Link } from "wouter";

import { useT } from "../../i18n/index.tsx";
import { Reported } from "../../i18n/said.tsx";
import { Status } from "../../ui/badge.tsx";
import { Button } from "../../ui/button.tsx";
import { durationOf } from "../../ui/format.ts";
import { FullTime } from "../../ui/time.tsx";
import { useShown } from "../../ui/use-shown.ts";
import type { HistoryEntry } from "../logged-event.ts";
import { Content } from "./content.tsx";
import { around, keyOf, laneOf } from "./lanes.ts";
import type { Entry, SagaData } from "./query.ts";

type Props = {
  entries: readonly Entry[];
  chosen: string | null;
  history: readonly HistoryEntry[];
  saga: SagaData | null;
  choose: (key: string) => void;
};

/** The chosen step of the timeline: what it was, why it happened, what it carried, and what it changed. */
export const Detail = ({ entries, chosen, history, saga, choose }: Props) => {
  const t = useT();
  const entry = entries.find((one) => keyOf(one) === chosen);
  const place = useShown<HTMLElement>(entry ? keyOf(entry) : "");
  if (!entry) return null;
  const product = /^product-(.+)$/.exec(entry.subject ?? "")?.[1];
  const { causes, effects } = around(entries, entry);
  return (
    <section ref={place} className="panel" aria-live="polite">
      <h3>
        {entry.name} <small>{t(`lane.${laneOf(entry)}`)}</small>
      </h3>
      <p className="note">{t(`detail.kind.${entry.kind}`)}</p>
      <dl className="facts">
        <Fact name={t("time")}>
          <FullTime at={entry.at} />
        </Fact>
        {entry.status && (
          <Fact name={t("status")}>
            <Status of={entry.status} />
          </Fact>
        )}
        {entry.times > 1 && (
          <Fact name={t("sagas.attempts")}>
            {t("timeline.times", { n: entry.times })}
            {entry.lastAt && (
              <>
                , {t("detail.lastAt")} <FullTime at={entry.lastAt} />
              </>
            )}
          </Fact>
        )}
        {entry.durationMs !== null && (
          <Fact name={t(entry.times > 1 ? "detail.durationOfAll" : "duration")}>
            {durationOf(entry.durationMs, t.language)}
          </Fact>
        )}
        {product && (
          <Fact name={t("product")}>
            <Link href={`/events/${product}`}>{product}</Link>
          </Fact>
        )}
        {causes.length > 0 && (
          <Fact name={t("events.causes")}>
            <Others of={causes} choose={choose} />
          </Fact>
        )}
        {effects.length > 0 && (
          <Fact name={t("events.effects")}>
            <Others of={effects} choose={choose} />
          </Fact>
        )}
        {entry.error && (
          <Fact name={t(entry.kind === "EVENT" ? "order.reason" : "error")}>
            <Reported text={entry.error} />
          </Fact>
        )}
      </dl>
      <Content key={keyOf(entry)} entry={entry} history={history} saga={saga} />
    </section>
  );
};

const Fact = ({ name, children }: { name: string; children: ReactNode }) => (
  <>
    <dt>{name}</dt>
    <dd>{children}</dd>
  </>
);

const Others = ({ of, choose }: { of: readonly Entry[]; choose: (key: string) => void }) => (
  <span className="row">
    {of.map((one) => (
      <Button key={keyOf(one)} onClick={() => choose(keyOf(one))}>
        {one.name}
      </Button>
    ))}
  </span>
);
