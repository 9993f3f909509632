/** Where the lines of a small chart run. A value that is not known is a gap in the line. */

export type Value = number | null;

/** The corners of a line without a gap, from left to right. */
export type Line = readonly (readonly [x: number, y: number])[];

const ABOVE = 4;
const BELOW = 2;

export const mostOf = (values: readonly Value[]): number => Math.max(0, ...values.map((value) => value ?? 0));

/** Return how far to the right each value stands from the one before it. */
export const stepOf = (values: readonly Value[], width: number): number => width / Math.max(1, values.length - 1);

/** Return the lines through the known values; the largest value is at the top. A value between two gaps is a dash. */
export const linesOf = (values: readonly Value[], width: number, height: number): Line[] => {
  const most = Math.max(mostOf(values), 1e-9);
  const step = stepOf(values, width);
  const lines: [number, number][][] = [];
  values.forEach((value, index) => {
    if (value === null) return;
    const corner: [number, number] = [index * step, height - BELOW - (value / most) * (height - ABOVE - BELOW)];
    const follows = index > 0 && values[index - 1] !== null;
    if (follows) lines.at(-1)?.push(corner);
    else lines.push([corner]);
  });
  return lines.map((line) => {
    const [only, second] = line;
    if (!only || second) return line;
    const [x, y] = only;
    return [
      [Math.max(0, x - step / 2), y],
      [Math.min(width, x + step / 2), y],
    ];
  });
};
