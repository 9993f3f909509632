import type { Language } from "./catalogue.ts";
import { en as errorsInEnglish } from "./errors.en.ts";
import { ja as errorsInJapanese } from "./errors.ja.ts";
import { en } from "./phrases.en.ts";
import { ja, names } from "./phrases.ja.ts";

export const PHRASES: Record<Language, Record<string, string>> = { en, ja };
export const ERRORS: Record<Language, Record<string, string>> = { en: errorsInEnglish, ja: errorsInJapanese };

/** A sentence as its phrases: the code of each, and its parts by name. */
export type Said = readonly { code: string; parts: unknown }[];
export type Piece = { text: string } | { at: string };

const NAMES: Record<Language, Record<string, string>> = { en: {}, ja: names };

/** Return what this language calls a thing that the server calls by an English name. */
export const nameIn = (language: Language, name: string): string => NAMES[language][name] ?? name;

const partOf = (name: string, value: unknown, language: Language): Piece => {
  if (name === "at" && typeof value === "string") return { at: value };
  if (typeof value === "number") return { text: new Intl.NumberFormat(language).format(value) };
  return { text: nameIn(language, String(value)) };
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

/** What a place of an error's text may hold. */
const HOLDS: Record<string, string> = {
  ...Object.fromEntries(["seconds", "number", "quantity", "available", "status"].map((name) => [name, "[\\d,]+"])),
  ...Object.fromEntries(["error", "missing"].map((name) => [name, ".+"])),
  event: "\\w+",
};

const formOf = (template: string): RegExp => {
  const pieces = template.split(/\{(\w+)\}/).map((piece, index) =>
    index % 2 === 0 ? piece.replace(/[.*+?^${}()|[\]\\]/g, "\\$&") : `(?<${piece}>${HOLDS[piece] ?? "[^;]+?"})`,
  );
  return new RegExp(`^${pieces.join("")}$`);
};

const FORMS = Object.entries(ERRORS.en).map(([code, template]) => ({ code, form: formOf(template) }));

/** Return what an error of our own says in this language; undefined for a text that somebody else wrote. */
export const reported = (text: string, language: Language): string | undefined => {
  for (const { code, form } of FORMS) {
    const found = form.exec(text);
    if (!found) continue;
    const parts = found.groups ?? {};
    const said = (_: string, name: string) => NAMES[language][parts[name] ?? ""] ?? parts[name] ?? "";
    return (ERRORS[language][code] ?? text).replace(/\{(\w+)\}/g, said);
  }
  return undefined;
};
