import { Fragment, type KeyboardEvent, useId } from "react";

import { useT } from "../../i18n/index.tsx";
import { durationOf, preciseOf } from "../../ui/format.ts";
import { arrowsOf, axisOf, curveOf, endOf, keyOf, LANES, laneOf, marked } from "./lanes.ts";
import type { Entry, SagaData } from "./query.ts";

const WIDTH = 1000;
const LEFT = 110;
const RIGHT = 24;
const LANE = 44;
const TOP = 22;
/** The width of a wait's mark. */
const MARK = 82;
/** Half of a bar's height. */
const HALF = 8;

type Props = {
  entries: readonly Entry[];
  saga: SagaData | null;
  chosen: string | null;
  /** The moment of the slider; null for the present. */
  moment: string | null;
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
  const head = useId();
  const clock = (at: string) => preciseOf(at, new Date(), t.language);
  const deadline = saga?.deadlineAt ? Date.parse(saga.deadlineAt) : undefined;
  const moments = entries.flatMap((entry) => [Date.parse(entry.at), endOf(entry)]);
  const axis = axisOf(deadline === undefined ? moments : [...moments, deadline]);
  const x = (at: number) => LEFT + axis.place(at) * (WIDTH - LEFT - RIGHT);
  const middle = (entry: Entry) => TOP + LANES.indexOf(laneOf(entry)) * LANE + LANE / 2;
  const height = TOP + LANES.length * LANE + 20;
  const first = entries[0];
  const now = moment === null ? undefined : x(Date.parse(moment));
  return (
    <div className="lanes" role="region" aria-label={t("lanes.title")} tabIndex={0}>
      <svg viewBox={`0 0 ${WIDTH} ${height}`} role="group" aria-label={t("lanes.title")}>
        <defs>
          <marker id={head} viewBox="0 0 8 8" refX={8} refY={4} markerWidth={7} markerHeight={7} orient="auto">
            <path className="cause-head" d="M0 0 L8 4 L0 8 z" />
          </marker>
        </defs>
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
          const [start, end] = [cause, effect].map((one) => ({ x: x(Date.parse(one.at)), y: middle(one) }));
          const path = start && end && curveOf(start, end, HALF);
          return <path key={`${from} ${to}`} className="cause" d={path} markerEnd={`url(#${head})`} />;
        })}
        {entries.map((entry) => (
          <Bar
            key={keyOf(entry)}
            entry={entry}
            from={x(Date.parse(entry.at))}
            to={x(endOf(entry))}
            middle={middle(entry)}
            future={moment !== null && entry.at > moment}
            pressed={keyOf(entry) === chosen}
            onClick={() => choose(keyOf(entry) === chosen ? undefined : keyOf(entry))}
          />
        ))}
        {deadline !== undefined && (
          <line className="deadline" x1={x(deadline)} x2={x(deadline)} y1={TOP + 3 * LANE} y2={TOP + 4 * LANE}>
            <title>{t("lanes.deadline")}</title>
          </line>
        )}
        {now !== undefined && <line className="moment" x1={now} x2={now} y1={TOP} y2={height - 20} />}
        {first && (
          <text x={LEFT} y={height - 5}>
            {clock(first.at)}
          </text>
        )}
        <text x={WIDTH - RIGHT} y={height - 5} textAnchor="end">
          {axis.end > 0 ? clock(new Date(axis.end).toISOString()) : ""}
        </text>
      </svg>
    </div>
  );
};

/** What the rows and colours of the picture mean. */
export const Legend = () => {
  const t = useT();
  return (
    <details>
      <summary>{t("lanes.legend")}</summary>
      <dl className="facts">
        {LANES.map((lane) => (
          <Fragment key={lane}>
            <dt>{t(`lane.${lane}`)}</dt>
            <dd>{t(`lane.what.${lane}`)}</dd>
          </Fragment>
        ))}
      </dl>
      <p>{t("lanes.colours")}</p>
    </details>
  );
};

type BarProps = {
  entry: Entry;
  from: number;
  to: number;
  middle: number;
  future: boolean;
  pressed: boolean;
  onClick: () => void;
};

/** One thing that happened. What was repeated is one bar, with how often above it. */
const Bar = ({ entry, from, to, middle, future, pressed, onClick }: BarProps) => {
  const t = useT();
  const [left, width] = [from - 4, Math.max(9, to - from)];
  const label = [
    t(`lane.${laneOf(entry)}`),
    entry.name,
    t.status(entry.status ?? ""),
    entry.times > 1 ? t("timeline.times", { n: entry.times }) : "",
    entry.durationMs === null ? "" : durationOf(entry.durationMs, t.language),
    preciseOf(entry.at, new Date(), t.language),
  ].filter(Boolean);
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    onClick();
  };
  return (
    <g>
      <rect
        className={`step ${toneOf(entry)} ${future ? "future" : ""}`}
        x={left}
        y={middle - HALF}
        width={width}
        height={2 * HALF}
        rx={entry.kind === "EVENT" ? 8 : 3}
        role="button"
        tabIndex={0}
        aria-pressed={pressed}
        aria-label={label.join(", ")}
        onClick={onClick}
        onKeyDown={onKeyDown}
      >
        <title>{label.join(", ")}</title>
      </rect>
      {entry.times > 1 && (
        <text className="times" x={left + width} y={middle - HALF - 2} textAnchor="end" aria-hidden="true">
          ×{entry.times}
        </text>
      )}
    </g>
  );
};
