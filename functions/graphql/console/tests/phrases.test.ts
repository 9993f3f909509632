import assert from "node:assert/strict";
import { test } from "node:test";

import { ERRORS, PHRASES, reported, spoken } from "../src/i18n/phrases.ts";

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
  for (const { en, ja } of [PHRASES, ERRORS]) {
    assert.deepEqual(Object.keys(ja).sort(), Object.keys(en).sort());
    for (const [code, text] of Object.entries(en)) {
      assert.deepEqual(places(ja[code] ?? ""), places(text), code);
      assert.match(ja[code] ?? "", /[^ -~]|^\{\w+\}$/, `${code} is not in Japanese`);
    }
  }
});

test("an error that our own code wrote is said in the viewer's language", () => {
  const said = (text: string) => reported(text, "ja");
  assert.equal(
    said("no answer from the payment provider; try again in a moment"),
    "決済事業者から応答がありません。少し待ってもう一度試してください",
  );
  assert.equal(
    said("Firestore keeps failing; try again in 5 seconds"),
    "Firestoreは失敗が続いています。5 秒後にもう一度試してください",
  );
  assert.equal(said("no ShippingArranged in time"), "ShippingArranged が時間内に起きませんでした");
  assert.equal(said("no answer in time"), "時間内に応答がありませんでした");
  assert.equal(said("煎茶: 3 ordered, 1 available"), "煎茶: 注文 3、在庫 1");
});

test("each text of ours is known by its own code, and stays as it is in English", () => {
  for (const [code, template] of Object.entries(ERRORS.en)) {
    const text = template.replace(/\{(\w+)\}/g, (_, name: string) =>
      ["seconds", "number", "quantity", "available", "status"].includes(name) ? "7" : "x",
    );
    assert.equal(reported(text, "en"), text, code);
    const words = (ERRORS.ja[code] ?? "").split(/\{\w+\}/);
    assert.ok(words.every((one) => reported(text, "ja")?.includes(one)), `${code}: ${String(reported(text, "ja"))}`);
  }
});

test("what somebody else wrote is not taken for ours", () => {
  for (const text of ["ConnectionResetError: [Errno 104]", "間違えた", "no time", "erased"]) {
    assert.equal(reported(text, "ja"), undefined, text);
  }
});
