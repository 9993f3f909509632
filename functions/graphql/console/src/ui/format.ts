/** Numbers, money and times as the viewer's language writes them. */

export const clockOf = (at: string, language: string): string =>
  new Intl.DateTimeFormat(language, {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    fractionalSecondDigits: 3,
    hourCycle: "h23",
  }).format(new Date(at));

export const dayAndClockOf = (at: string, language: string): string =>
  new Intl.DateTimeFormat(language, {
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
  }).format(new Date(at));

export const briefOf = (at: string, now: Date, language: string): string => {
  const isToday = new Date(at).toDateString() === now.toDateString();
  if (!isToday) return dayAndClockOf(at, language);
  return new Intl.DateTimeFormat(language, { timeStyle: "medium", hourCycle: "h23" }).format(new Date(at));
};

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
