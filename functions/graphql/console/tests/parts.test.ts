import assert from "node:assert/strict";
import { test } from "node:test";

import { CombinedError } from "urql";

import { isAnswered } from "../src/api/answered.ts";
import { codeOfStatus, failureOf } from "../src/api/failure.ts";
import { decoded } from "../src/pages/letters/decode.ts";
import { remembered } from "../src/pages/samples.ts";
import { stepsOf } from "../src/pages/saga-steps.ts";
import { grouped, placeOfGroup } from "../src/pages/stuck-groups.ts";
import { placeOf } from "../src/pages/stuck-place.ts";
import { inTree } from "../src/pages/tree.ts";
import { localToken, PEOPLE } from "../src/session/people.ts";
import { withWord } from "../src/ui/erased.ts";
import { ago, durationOf, moneyOf } from "../src/ui/format.ts";

test("an answer whose every field has failed is none", () => {
  const failure = { code: "INVALID_INPUT", message: "topic must be one of ..." };
  assert.equal(isAnswered({ pubsubMessages: null }, failure), false);
  assert.equal(isAnswered({ order: null, saga: { id: 1 } }, failure), true);
  assert.equal(isAnswered({ pubsubMessages: [] }, failure), true);
  assert.equal(isAnswered({ health: null }, undefined), true);
  assert.equal(isAnswered(undefined, undefined), false);
});

test("money is exact, however large", () => {
  assert.equal(moneyOf("9007199254740993", "JPY", "en"), "¥9,007,199,254,740,993");
  assert.equal(moneyOf("12.50", "USD", "en"), "$12.50");
});

test("durations and ages read well", () => {
  assert.equal(durationOf(12, "en"), "12 ms");
  assert.equal(durationOf(1_500, "en"), "1.5 s");
  assert.equal(durationOf(90_000, "en"), "1.5 min");
  assert.equal(ago("2026-01-01T00:00:00Z", Date.parse("2026-01-01T00:02:30Z"), "en"), "2 minutes ago");
  assert.equal(ago("2026-01-01T00:00:00Z", Date.parse("2026-01-01T00:00:00Z"), "en"), "now");
});

test("categories are listed below their parents, and none is lost", () => {
  const category = (id: string, parentId: string | null) => ({ id, name: id, parentId });
  const tree = inTree([category("b", "a"), category("a", null), category("lost", "gone")]);
  assert.deepEqual(
    tree.map(({ id, depth }) => [id, depth]),
    [
      ["a", 0],
      ["b", 1],
      ["lost", 0],
    ],
  );
});

test("a problem leads to the page where it is put right", () => {
  const order = "01a2238a-5c99-704a-8bb1-88574a01e89d";
  assert.equal(placeOf("SAGA_STUCK", `order-${order}`).href, `/orders/${order}`);
  assert.equal(placeOf("STEP_REPEATED", "process-payment.process-payment").href, "/sagas?status=ACTIVE");
  assert.equal(placeOf("DEAD_LETTER", "a b").href, "/dead-letters?status=PENDING&source=a%20b");
  assert.equal(placeOf("READ_MODEL", "project_orders").href, "/read-models");
  assert.equal(placeOf("DEPENDENCY", "payments").href, "/topology");
});

test("orders that are held up at the same step by the same error are one problem", () => {
  const problem = (kind: string, subject: string, since: string, command: string, lastError: string | null = "down") => ({
    kind,
    subject,
    since,
    lastError,
    waitingForPhrases: [{ code: "SAGA_UNANSWERED", parts: { command } }],
  });
  const found = grouped([
    problem("SAGA_STUCK", "order-2", "2026-01-02T00:00:00Z", "RefundPayment"),
    problem("SAGA_STUCK", "order-1", "2026-01-01T00:00:00Z", "RefundPayment"),
    problem("SAGA_STUCK", "order-3", "2026-01-01T00:00:00Z", "RefundPayment", "refused"),
    problem("SAGA_STUCK", "order-4", "2026-01-01T00:00:00Z", "ReleaseInventory"),
    problem("STEP_REPEATED", "order-5", "2026-01-01T00:00:00Z", "RefundPayment"),
    problem("STEP_REPEATED", "process-payment.process-payment", "2026-01-01T00:00:00Z", "RefundPayment"),
    problem("DEAD_LETTER", "a", "2026-01-01T00:00:00Z", ""),
    problem("DEAD_LETTER", "b", "2026-01-01T00:00:00Z", ""),
  ]);
  assert.deepEqual(
    found.map((group) => group.map(({ subject }) => subject)),
    [["order-1", "order-2"], ["order-3"], ["order-4"], ["order-5"], ["process-payment.process-payment"], ["a"], ["b"]],
  );
  assert.equal(found[0] && placeOfGroup(found[0]).href, "/sagas?status=STUCK");
  assert.equal(found[1] && placeOfGroup(found[1]).href, "/orders/3");
});

test("of several errors the one of the first field is told, and a proxy's refusal asks for sign-in", () => {
  const at = (line: number, code: string) => ({ message: code, locations: [{ line, column: 3 }], extensions: { code } });
  const graphQLErrors = [at(40, "SERVICE_UNAVAILABLE"), at(3, "NOT_FOUND")];
  assert.equal(failureOf(new CombinedError({ graphQLErrors })).code, "NOT_FOUND");
  const refused = { networkError: new Error("Unauthorized"), response: { status: 401 } };
  assert.equal(failureOf(new CombinedError(refused)).code, "UNAUTHENTICATED");
  assert.equal(failureOf(new CombinedError({ networkError: new Error("Failed to fetch") })).code, "NETWORK");
  assert.equal(codeOfStatus(500), undefined);
});

test("what is left of an erased person is said in the viewer's words, and nothing else is", () => {
  const data = { user_id: "erased", items: [{ product_name: "erased" }], before: { paymentId: "erased", total: 3 } };
  assert.deepEqual(withWord(data, "消去済み"), {
    user_id: "消去済み",
    items: [{ product_name: "erased" }],
    before: { paymentId: "消去済み", total: 3 },
  });
  assert.equal(withWord("erased", "消去済み", "reason"), "消去済み");
  assert.equal(withWord("erased", "消去済み", "status"), "erased");
});

test("a message's data is shown as JSON, as text, or as it is", () => {
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  assert.deepEqual(decoded(base64('{"名": 1}')), { 名: 1 });
  assert.equal(decoded(base64("not JSON")), "not JSON");
  assert.equal(decoded("not base64!"), "not base64!");
});

test("the saga's steps show how many are there and how long they take", () => {
  const at = (second: number) => `2026-01-01T00:00:0${second}Z`;
  const step = (name: string, startedAt: string | null, endedAt: string | null) => ({
    name,
    command: name,
    compensation: null,
    startedAt,
    endedAt,
  });
  const sagas = [{ steps: [step("one", at(0), at(2)), step("two", at(2), null)] }];
  assert.deepEqual(stepsOf(sagas, ["two", null, "two"]), [
    { name: "one", compensation: null, now: 0, medianMs: 2000 },
    { name: "two", compensation: null, now: 2, medianMs: undefined },
  ]);
});

test("of each number the last values are remembered", () => {
  let samples = {};
  for (let n = 1; n <= 100; n++) samples = remembered(samples, [["orders", n]]);
  assert.deepEqual(samples, { orders: Array.from({ length: 60 }, (_, index) => index + 41) });
});

test("a local person's token says who it is, and expires", () => {
  const [person] = PEOPLE;
  assert.ok(person);
  const [, claims = ""] = localToken(person, "shop-local", 5_000_000).split(".");
  const read = JSON.parse(Buffer.from(claims, "base64url").toString()) as Record<string, unknown>;
  assert.equal(read["user_id"], person.id);
  assert.equal(read["role"], "reader");
  assert.equal(read["exp"], 5_000 + 3_600);
});
