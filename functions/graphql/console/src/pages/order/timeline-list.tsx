import { useT } from "../../i18n/index.tsx";
import { Button } from "../../ui/button.tsx";
import { durationOf } from "../../ui/format.ts";
import { Table } from "../../ui/table.tsx";
import { Time } from "../../ui/time.tsx";
import { keyOf, laneOf } from "./lanes.ts";
import type { Entry } from "./query.ts";

type Props = { entries: readonly Entry[]; chosen: string | null; choose: (key: string | undefined) => void };

const SHOWN = 200;

/** The same as the lanes, as a list: for narrow screens and screen readers. */
export const TimelineList = ({ entries, chosen, choose }: Props) => {
  const t = useT();
  return (
    <section className="panel">
      <h2>{t("timeline.title")}</h2>
      <Table
        caption={t("timeline.title")}
        rows={entries.slice(-SHOWN)}
        keyOf={(entry) => keyOf(entry)}
        columns={[
          { name: t("time"), cell: ({ at }) => <Time at={at} precise /> },
          { name: t("timeline.lane"), cell: (entry) => t(`lane.${laneOf(entry)}`) },
          {
            name: t("timeline.what"),
            cell: (entry) => (
              <Button
                pressed={keyOf(entry) === chosen}
                onClick={() => choose(keyOf(entry) === chosen ? undefined : keyOf(entry))}
              >
                {entry.name}
                {entry.times > 1 && ` · ${t("timeline.times", { n: entry.times })}`}
              </Button>
            ),
          },
          { name: t("status"), cell: ({ status }) => t.status(status ?? "") },
          {
            name: t("duration"),
            number: true,
            cell: ({ durationMs }) => (durationMs === null ? "" : durationOf(durationMs, t.language)),
          },
        ]}
      />
      {entries.length > SHOWN && <p className="note">{t("timeline.last", { n: SHOWN, of: entries.length })}</p>}
    </section>
  );
};
