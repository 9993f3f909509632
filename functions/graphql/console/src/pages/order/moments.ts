/** Moments with all six digits after the second, as the API writes them: their order as texts is that of time. */

const EXACT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;

/** Return a moment in UTC with six digits after the second, of which a Date keeps three; null for what is no moment. */
export const exact = (text: string): string | null => {
  const parsed = new Date(text);
  if (Number.isNaN(parsed.getTime())) return null;
  const digits = /\.(\d+)/.exec(text)?.[1] ?? "";
  const moment = `${parsed.toISOString().slice(0, 19)}.${digits.slice(0, 6).padEnd(6, "0")}Z`;
  return EXACT.test(moment) ? moment : null;
};

/** Return the moments at which something happened, each once, the first first. */
export const momentsOf = (entries: readonly { at: string }[]): string[] =>
  [...new Set(entries.map(({ at }) => at))].sort();

/** Return the index of the last moment that is not after `moment`, which is null for the present; -1 for none. */
export const indexAt = (moments: readonly string[], moment: string | null): number =>
  moment === null ? moments.length - 1 : moments.findLastIndex((at) => at <= moment);
