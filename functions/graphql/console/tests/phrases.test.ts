import assert from "node:assert/strict";
import { test } from "node:test";

import { PHRASES, spoken } from "../src/i18n/phrases.ts";

const ATTEMPT = { code: "SAGA_ATTEMPT", parts: { command: "ProcessPayment", attempt: 2, attempts: 4, at: "2026-01-01T00:00:00Z" } };
const textOf = (pieces: ReturnType<typeof spoken>): string | undefined =>
  pieces?.map((piece) => ("at" in piece ? piece.at : piece.text)).join("");

test("a sentence is said in the viewer's language, its moments for the viewer's zone", () => {
  assert.equal(
    textOf(spoken([ATTEMPT, { code: "THEN_ADMIN", parts: {} }], "en")),
    "ProcessPayment: attempt 2 of 4, next at 2026-01-01T00:00:00Z, then an admin must retry the saga",
  );
  assert.equal(textOf(spoken([ATTEMPT], "ja")), "ProcessPayment: 4 回中 2 回目の試行。次は 2026-01-01T00:00:00Z");
  assert.deepEqual(
    spoken([ATTEMPT], "ja")?.filter((piece) => "at" in piece),
    [{ at: "2026-01-01T00:00:00Z" }],
  );
});

test("what the server calls by an English name has a Japanese one", () => {
  const open = [{ code: "BREAKER_IS_OPEN", parts: { dependency: "the payment provider" } }];
  assert.equal(textOf(spoken(open, "ja")), "決済事業者: 開いています");
  assert.equal(textOf(spoken(open, "en")), "the payment provider is open");
});

test("a sentence of a newer or older server is left in English", () => {
  assert.equal(spoken([ATTEMPT, { code: "NEWER", parts: {} }], "ja"), undefined);
  assert.equal(spoken([], "ja"), undefined);
});

test("every language has the same phrases with the same places", () => {
  const places = (text: string) => [...text.matchAll(/\{\w+\}/g)].map(([place]) => place).sort();
  assert.deepEqual(Object.keys(PHRASES.ja).sort(), Object.keys(PHRASES.en).sort());
  for (const [code, text] of Object.entries(PHRASES.en)) {
    assert.deepEqual(places(PHRASES.ja[code] ?? ""), places(text), code);
    assert.match(PHRASES.ja[code] ?? "", /[^ -~]|^\{\w+\}$/, `${code} is not in Japanese`);
  }
});
