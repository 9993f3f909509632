import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { ja as statusesInJapanese } from "../src/i18n/statuses.ja.ts";
import { CATALOGUES, filled, languageOf, translator } from "../src/i18n/catalogue.ts";

const places = (message: string): string[] => [...message.matchAll(/\{\w+\}/g)].map(([place]) => place).sort();

test("every catalogue has the same messages, none of them empty, with the same places", () => {
  const { en, ja } = CATALOGUES;
  assert.deepEqual(Object.keys(ja).sort(), Object.keys(en).sort());
  for (const [key, message] of Object.entries(en)) {
    const other = (ja as Record<string, string>)[key] ?? "";
    assert.ok(message && other, key);
    assert.deepEqual(places(other), places(message), key);
  }
});

const sources = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => /\.tsx?$/.test(name) && !name.includes("i18n"))
    .map((name) => readFileSync(join(folder, name), "utf8"));

test("every word of the glossary is explained in every language", () => {
  const words = JSON.parse(readFileSync("src/glossary.json", "utf8")) as {
    id: string;
    name: Record<string, string>;
    text: Record<string, string>;
  }[];
  assert.ok(words.length >= 15);
  for (const { id, name, text } of words) {
    for (const language of Object.keys(CATALOGUES)) assert.ok(name[language] && text[language], `${id} ${language}`);
  }
});

test("no message is left that no page shows", () => {
  const code = sources("src").join("\n");
  const built = [...code.matchAll(/`([a-zA-Z.]+\.)\$\{[^}]+\}(\.\w+)?`/g)].map(
    ([, start, end]) => new RegExp(`^${(start ?? "").replaceAll(".", "\\.")}\\w+${end ?? ""}$`),
  );
  const unused = Object.keys(CATALOGUES.en).filter((key) => {
    const stem = key.replace(/\.(one|other)$/, "");
    return !code.includes(`"${key}"`) && !code.includes(`"${stem}"`) && !built.some((form) => form.test(key));
  });
  assert.deepEqual(unused, []);
});

test("no page has words of its own between its tags", () => {
  for (const code of sources("src")) {
    const words = [...code.matchAll(/>([^<>{}=;()]*[A-Za-z]{3,}[^<>{}=;()]*)<\//g)].map(([, text]) => text?.trim());
    assert.deepEqual(
      words.filter((text) => text !== "GraphiQL" && text !== "Ctrl K" && text !== "Shop console"),
      [],
    );
  }
});

test("every status that a page colours or filters by has a word in Japanese", () => {
  const named = sources("src").flatMap((code) => [
    ...[...code.matchAll(/^ {2}(\w+): "(?:good|warn|bad|info)",$/gm)].map(([, status]) => status ?? ""),
    ...[...code.matchAll(/^const (?:STATUSES|CODES) = \[([^\]]+)\]/gm)].flatMap(([, list]) => list?.match(/\w+/g) ?? []),
  ]);
  assert.ok(new Set(named).size >= 35);
  assert.deepEqual(
    named.filter((status) => !(status in statusesInJapanese)),
    [],
  );
  assert.equal(translator("ja").status("CONFIRMED"), "確定");
  assert.equal(translator("en").status("CONFIRMED"), "CONFIRMED");
  assert.equal(translator("ja").status("SOMETHING_NEW"), "SOMETHING_NEW");
});

test("the browser chooses the language", () => {
  assert.equal(languageOf(["ja-JP", "en"]), "ja");
  assert.equal(languageOf(["fr", "ja"]), "ja");
  assert.equal(languageOf(["en-GB"]), "en");
  assert.equal(languageOf(["fr"]), "en");
  assert.equal(languageOf([]), "en");
});

test("a message says how many", () => {
  const t = translator("en");
  assert.equal(t.n("stuck.attempts", 1), "1 attempt.");
  assert.equal(t.n("stuck.attempts", 1200), "1,200 attempts.");
  assert.equal(translator("ja").n("stuck.attempts", 1), "1 回試行。");
  assert.equal(filled("{n} of {of}", { n: 0, of: 2 }), "0 of 2");
  assert.equal(filled("{n} of {of}", { n: 1 }), "1 of {of}");
});
