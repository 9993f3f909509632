import { type PointerEvent, useState } from "react";

import { useT } from "../i18n/index.tsx";
import { mostOf, type Value } from "../ui/chart.ts";
import { durationOf, numberOf } from "../ui/format.ts";
import { Spark } from "../ui/spark.tsx";
import { Time } from "../ui/time.tsx";
import { type Chart, chartsOf, type Minute, minuteAt, presentOf } from "./charts.ts";

/**
 * What was done, and what waited, in each minute of the last hour. The charts show the present values, or those of the
 * minute that the slider or the pointer is on.
 */
export const LastHour = ({ minutes }: { minutes: readonly Minute[] }) => {
  const t = useT();
  const [chosen, setChosen] = useState<string>();
  const last = minutes.length - 1;
  const index = minutes.findIndex(({ at }) => at === chosen);
  const marked = index < 0 ? undefined : index;
  const choose = (to: number) => setChosen(to < last ? minutes[to]?.at : undefined);
  const clock = new Intl.DateTimeFormat(t.language, { timeStyle: "short", hourCycle: "h23" });
  const times = minutes.map(({ at }) => clock.format(new Date(at)));
  const span = { from: times[0] ?? "", to: times[last] ?? "" };
  return (
    <section className="panel">
      <h2>{t("overview.history")}</h2>
      <div className="slider">
        <label htmlFor="minute">{t("overview.minute")}</label>
        <input
          id="minute"
          type="range"
          min={0}
          max={last}
          value={marked ?? last}
          aria-valuetext={times[index] ?? t("moment.now")}
          onChange={(event) => choose(Number(event.target.value))}
        />
        <strong>{minutes[index] ? <Time at={minutes[index].at} brief /> : t("moment.now")}</strong>
      </div>
      <div className="charts">
        {chartsOf(minutes).map((chart) => (
          <OneChart key={chart.name} of={chart} marked={marked} span={span} choose={choose} />
        ))}
      </div>
    </section>
  );
};

type Props = {
  of: Chart;
  marked?: number;
  span: { from: string; to: string };
  choose: (minute: number) => void;
};

const OneChart = ({ of: { name, unit, values }, marked, span, choose }: Props) => {
  const t = useT();
  const text = (value: Value) => {
    if (value === null) return "–";
    return unit === "milliseconds" ? durationOf(value, t.language) : numberOf(value, t.language);
  };
  const most = text(mostOf(values));
  const present = text(presentOf(values));
  const pointAt = ({ currentTarget, clientX }: PointerEvent) => {
    const { left, width } = currentTarget.getBoundingClientRect();
    choose(minuteAt((clientX - left) / width, values.length));
  };
  return (
    <figure className="chart">
      <figcaption>{t(name)}</figcaption>
      <div className="values">
        <span className="figure">{marked === undefined ? present : text(values[marked] ?? null)}</span>
        <small>{t("overview.most", { most })}</small>
      </div>
      <div onPointerMove={pointAt} onPointerLeave={() => choose(values.length)}>
        <Spark values={values} marked={marked} label={t("overview.chart", { name: t(name), ...span, present, most })} />
      </div>
    </figure>
  );
};
