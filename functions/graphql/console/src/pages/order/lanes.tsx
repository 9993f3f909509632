import type { KeyboardEvent } from "react";

import { useT } from "../../i18n/index.tsx";
import { clockOf, durationOf } from "../../ui/format.ts";
import { arrowsOf, axisOf, endOf, keyOf, LANES, laneOf, marked } from "./lanes.ts";
import type { Entry, SagaData } from "./query.ts";

const WIDTH = 1000;
const LEFT = 110;
const RIGHT = 24;
const LANE = 44;
const TOP = 22;
/** The width of a wait's mark. */
const MARK = 82;

type Props = {
  entries: readonly Entry[];
  saga: SagaData | null;
  chosen: string | null;
  /** The moment of the slider; null for the present. */
  moment: number | null;
  choose: (key: string | undefined) => void;
};

const toneOf = ({ status, kind, name }: Entry): string => {
  if (status === "WAITING") return "warn";
  if (status && status !== "success") return "bad";
  if (/Fail|Refus/.test(name)) return "bad";
  if (/Releas|Refund|Cancel/.test(name)) return "warn";
  return kind === "EVENT" ? "good" : "";
};

/** Draw everything that happened for an order: a lane for each part of the shop, one time axis, arrows of causation. */
export const Lanes = ({ entries, saga, chosen, moment, choose }: Props) => {
  const t = useT();
  const deadline = saga?.deadlineAt ? Date.parse(saga.deadlineAt) : undefined;
  const moments = entries.flatMap((entry) => [Date.parse(entry.at), endOf(entry)]);
  const axis = axisOf(deadline === undefined ? moments : [...moments, deadline]);
  const x = (at: number) => LEFT + axis.place(at) * (WIDTH - LEFT - RIGHT);
  const middle = (entry: Entry) => TOP + LANES.indexOf(laneOf(entry)) * LANE + LANE / 2;
  const height = TOP + LANES.length * LANE + 20;
  const first = entries[0];
  return (
    <div className="lanes" role="region" aria-label={t("lanes.title")} tabIndex={0}>
      <svg viewBox={`0 0 ${WIDTH} ${height}`} role="group" aria-label={t("lanes.title")}>
        {LANES.map((lane, index) => (
          <g key={lane}>
            <rect
              className={index % 2 ? "lane" : "lane even"}
              x={0}
              y={TOP + index * LANE}
              width={WIDTH}
              height={LANE}
            />
            <text className="lane-name" x={6} y={TOP + index * LANE + LANE / 2 + 4}>
              {t(`lane.${lane}`)}
            </text>
          </g>
        ))}
        {marked(axis.waits, MARK / (WIDTH - LEFT - RIGHT)).map(({ from, to, milliseconds }) => (
          <text
            key={from}
            className="lane-name"
            x={LEFT + ((from + to) / 2) * (WIDTH - LEFT - RIGHT)}
            y={14}
            textAnchor="middle"
          >
            ⋯ {durationOf(milliseconds, t.language)} ⋯
          </text>
        ))}
        {arrowsOf(entries).map(({ from, to }) => {
          const [cause, effect] = [entries[from], entries[to]];
          if (!cause || !effect) return null;
          const [x1, y1, x2, y2] = [x(Date.parse(cause.at)), middle(cause), x(Date.parse(effect.at)), middle(effect)];
          const bend = (y1 + y2) / 2;
          return <path key={`${from} ${to}`} className="cause" d={`M${x1} ${y1} C${x1} ${bend} ${x2} ${bend} ${x2} ${y2}`} />;
        })}
        {entries.map((entry) => {
          const key = keyOf(entry);
          const begins = x(Date.parse(entry.at));
          const width = Math.max(9, x(endOf(entry)) - begins);
          const future = moment !== null && Date.parse(entry.at) > moment;
          const label = [
            t(`lane.${laneOf(entry)}`),
            entry.name,
            entry.status ?? "",
            entry.durationMs === null ? "" : durationOf(entry.durationMs, t.language),
            clockOf(entry.at, t.language),
          ].join(" ");
          const toggle = () => choose(key === chosen ? undefined : key);
          const onKeyDown = (event: KeyboardEvent) => {
            if (event.key !== "Enter" && event.key !== " ") return;
            event.preventDefault();
            toggle();
          };
          return (
            <rect
              key={key}
              className={`step ${toneOf(entry)} ${future ? "future" : ""}`}
              x={begins - 4}
              y={middle(entry) - 8}
              width={width}
              height={16}
              rx={entry.kind === "EVENT" ? 8 : 3}
              role="button"
              tabIndex={0}
              aria-pressed={key === chosen}
              aria-label={label}
              onClick={toggle}
              onKeyDown={onKeyDown}
            >
              <title>{label}</title>
            </rect>
          );
        })}
        {deadline !== undefined && (
          <line className="deadline" x1={x(deadline)} x2={x(deadline)} y1={TOP + 3 * LANE} y2={TOP + 4 * LANE}>
            <title>{t("lanes.deadline")}</title>
          </line>
        )}
        {moment !== null && <line className="moment" x1={x(moment)} x2={x(moment)} y1={TOP} y2={height - 20} />}
        {first && (
          <text x={LEFT} y={height - 5}>
            {clockOf(first.at, t.language)}
          </text>
        )}
        <text x={WIDTH - RIGHT} y={height - 5} textAnchor="end">
          {axis.end > 0 ? clockOf(new Date(axis.end).toISOString(), t.language) : ""}
        </text>
      </svg>
    </div>
  );
};
