const KEPT = 60;

/** The last values of several numbers, by name, the newest last. */
export type Samples = Readonly<Record<string, readonly number[]>>;

/** Add a value to each number's last values. */
export const remembered = (before: Samples, values: readonly (readonly [string, number])[]): Samples =>
  Object.fromEntries(values.map(([name, value]) => [name, [...(before[name] ?? []), value].slice(-KEPT)]));
