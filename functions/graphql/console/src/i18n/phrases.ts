import type { Language } from "./catalogue.ts";
import { en } from "./phrases.en.ts";
import { ja, names } from "./phrases.ja.ts";

export const PHRASES: Record<Language, Record<string, string>> = { en, ja };

/** A sentence as its phrases: the code of each, and its parts by name. */
export type Said = readonly { code: string; parts: unknown }[];
export type Piece = { text: string } | { at: string };

const NAMES: Record<Language, Record<string, string>> = { en: {}, ja: names };

const partOf = (name: string, value: unknown, language: Language): Piece => {
  if (name === "at" && typeof value === "string") return { at: value };
  if (typeof value === "number") return { text: new Intl.NumberFormat(language).format(value) };
  const text = String(value);
  return { text: NAMES[language][text] ?? text };
};

/** Return the sentence as texts and moments; undefined for no sentence, or one with a phrase that is not known here. */
export const spoken = (said: Said, language: Language): Piece[] | undefined => {
  if (said.length === 0 || said.some(({ code }) => !(code in PHRASES[language]))) return undefined;
  return said.flatMap(({ code, parts }) =>
    (PHRASES[language][code] ?? "").split(/\{(\w+)\}/).map((piece, index): Piece => {
      if (index % 2 === 0) return { text: piece };
      return partOf(piece, (parts as Record<string, unknown>)[piece], language);
    }),
  );
};
