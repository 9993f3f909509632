/** Numbers, money and times as the viewer's language writes them. */

type Parts = Intl.DateTimeFormatOptions;

const CLOCK: Parts = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };

/** Return the parts of a day: with its year, unless that is this year. */
const dayOf = (at: Date, now: Date): Parts => ({
  month: "short",
  day: "numeric",
  ...(at.getFullYear() !== now.getFullYear() && { year: "numeric" }),
});

/** Return the parts of a day; none for today. */
const otherDayOf = (at: Date, now: Date): Parts => (at.toDateString() === now.toDateString() ? {} : dayOf(at, now));

const formats = new Map<string, Intl.DateTimeFormat>();

/** Write a moment. A format is made once for each language, shape and time zone: making it takes longer than writing. */
const written = (at: Date, parts: Parts, language: string): string => {
  const key = `${language} ${new Date().getTimezoneOffset()} ${JSON.stringify(parts)}`;
  const format = formats.get(key) ?? new Intl.DateTimeFormat(language, parts);
  formats.set(key, format);
  return format.format(at);
};

/** Write a moment to the millisecond, with its day unless that is today. */
export const preciseOf = (at: string, now: Date, language: string): string => {
  const moment = new Date(at);
  return written(moment, { ...otherDayOf(moment, now), ...CLOCK, fractionalSecondDigits: 3 }, language);
};

export const dayAndClockOf = (at: string, now: Date, language: string): string => {
  const moment = new Date(at);
  return written(moment, { ...dayOf(moment, now), ...CLOCK }, language);
};

/** Write a moment with its day unless that is today. */
export const briefOf = (at: string, now: Date, language: string): string => {
  const moment = new Date(at);
  return written(moment, { ...otherDayOf(moment, now), ...CLOCK }, language);
};

/** Write a moment in UTC, to the millisecond. */
export const utcOf = (at: string): string => `${new Date(at).toISOString().replace("T", " ").replace("Z", "")} UTC`;

const UNITS: readonly [Intl.RelativeTimeFormatUnit, number][] = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];

export const ago = (at: string, now: number, language: string): string => {
  const seconds = Math.round((now - Date.parse(at)) / 1000);
  const [unit, length] = UNITS.find(([, length]) => seconds >= length) ?? ["second", 1];
  return new Intl.RelativeTimeFormat(language, { numeric: "auto" }).format(-Math.floor(seconds / length), unit);
};

export const durationOf = (milliseconds: number, language: string): string => {
  const number = (value: number, digits: number) =>
    new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);
  if (milliseconds < 1_000) return `${number(milliseconds, 0)} ms`;
  if (milliseconds < 60_000) return `${number(milliseconds / 1_000, 1)} s`;
  if (milliseconds < 3_600_000) return `${number(milliseconds / 60_000, 1)} min`;
  return `${number(milliseconds / 3_600_000, 1)} h`;
};

export const numberOf = (value: number | string, language: string): string =>
  new Intl.NumberFormat(language, { maximumFractionDigits: 2 }).format(Number(value));

/** Format an exact decimal: as text, because a float would round it. */
export const moneyOf = (amount: string, currency: string, language: string): string =>
  new Intl.NumberFormat(language, { style: "currency", currency }).format(amount as `${number}`);

export const shortId = (id: string): string => (id.length > 13 ? `…${id.slice(-8)}` : id);
