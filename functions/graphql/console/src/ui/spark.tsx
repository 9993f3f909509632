import { linesOf, stepOf, type Value } from "./chart.ts";

const WIDTH = 200;
const HEIGHT = 40;

type Props = {
  values: readonly Value[];
  /** What a screen reader says. */
  label: string;
  /** The value that is marked. */
  marked?: number;
};

/** A small chart of the values over time, from the oldest to the newest. */
export const Spark = ({ values, label, marked }: Props) => (
  <svg className="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={label}>
    {linesOf(values, WIDTH, HEIGHT).map((line) => {
      const [from, to] = [line[0]?.[0] ?? 0, line.at(-1)?.[0] ?? 0];
      const points = line.map((corner) => corner.join(",")).join(" ");
      return (
        <g key={from}>
          <polygon points={`${from},${HEIGHT} ${points} ${to},${HEIGHT}`} />
          <polyline points={points} />
        </g>
      );
    })}
    {marked !== undefined && (
      <line x1={marked * stepOf(values, WIDTH)} x2={marked * stepOf(values, WIDTH)} y1={0} y2={HEIGHT} />
    )}
  </svg>
);
