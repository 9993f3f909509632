import { en } from "./en.ts";
import { ja } from "./ja.ts";
import { ja as statusesInJapanese } from "./statuses.ja.ts";

export type Key = keyof typeof en;
export type Language = "en" | "ja";
export type Catalogue = Record<Key, string>;

export const CATALOGUES: Record<Language, Catalogue> = { en, ja };

type CountedKey<Name> = Name extends `${infer Stem}.other` ? Stem : never;
/** A message with a form for each plural of the language. */
export type Counted = CountedKey<Key>;

export type Values = Record<string, string | number>;

/** Put the values into the message's `{places}`. */
export const filled = (message: string, values: Values = {}): string =>
  message.replace(/\{(\w+)\}/g, (place, name: string) => String(values[name] ?? place));

export const languageOf = (preferred: readonly string[]): Language => {
  const known = preferred.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag === "ja" || tag === "en");
  return known === "ja" ? "ja" : "en";
};

export type Translate = {
  (key: Key, values?: Values): string;
  /** Return the message for `n` of something. */
  n: (stem: Counted, n: number, values?: Values) => string;
  /** Return what a status or an error's code of the API is called. */
  status: (code: string) => string;
  language: Language;
};

const STATUSES: Record<Language, Record<string, string>> = { en: {}, ja: statusesInJapanese };

export const translator = (language: Language): Translate => {
  const catalogue = CATALOGUES[language];
  const plurals = new Intl.PluralRules(language);
  const number = new Intl.NumberFormat(language);
  const translate = (key: Key, values?: Values) => filled(catalogue[key], values);
  const n = (stem: Counted, count: number, values?: Values) => {
    const form = `${stem}.${plurals.select(count)}`;
    const key = (form in catalogue ? form : `${stem}.other`) as Key;
    return filled(catalogue[key], { n: number.format(count), ...values });
  };
  const status = (code: string) => STATUSES[language][code] ?? code;
  return Object.assign(translate, { n, status, language });
};
