import assert from "node:assert/strict";
import { test } from "node:test";

import { CombinedError } from "urql";

import { isAnswered } from "../src/api/answered.ts";
import { codeOfStatus, failureOf } from "../src/api/failure.ts";
import { decoded } from "../src/pages/letters/decode.ts";
import { remembered } from "../src/pages/samples.ts";
import { stepsOf } from "../src/pages/saga-steps.ts";
import { cutOff, grouped, placeOfGroup, sharedBy } from "../src/pages/stuck-groups.ts";
import { placeOf } from "../src/pages/stuck-place.ts";
import { inTree } from "../src/pages/tree.ts";
import { localToken, PEOPLE } from "../src/session/people.ts";
import { withWord } from "../src/ui/erased.ts";
import { ago, briefOf, dayAndClockOf, durationOf, moneyOf, preciseOf, utcOf } from "../src/ui/format.ts";

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

test("a time has its day unless that is today, and its year unless that is this year", () => {
  const now = new Date(2026, 10, 29, 12);
  const at = (year: number, month: number, day: number) => new Date(year, month - 1, day, 9, 5, 7, 42).toISOString();
  assert.equal(preciseOf(at(2026, 11, 29), now, "en"), "09:05:07.042");
  assert.equal(preciseOf(at(2026, 11, 28), now, "en"), "Nov 28, 09:05:07.042");
  assert.equal(preciseOf(at(2025, 11, 29), now, "en"), "Nov 29, 2025, 09:05:07.042");
  assert.equal(briefOf(at(2026, 11, 29), now, "en"), "09:05:07");
  assert.equal(briefOf(at(2026, 11, 28), now, "ja"), "11月28日 09:05:07");
  assert.equal(dayAndClockOf(at(2026, 11, 29), now, "en"), "Nov 29, 09:05:07");
  assert.equal(dayAndClockOf(at(2025, 12, 31), now, "en"), "Dec 31, 2025, 09:05:07");
  assert.equal(dayAndClockOf(at(2025, 12, 31), now, "ja"), "2025年12月31日 09:05:07");
  assert.equal(utcOf("2026-01-01T00:00:00.123456Z"), "2026-01-01 00:00:00.123 UTC");
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
  assert.equal(placeOf("DEAD_LETTER", "a b").href, "/dead-letters?status=PENDING&source=a+b");
  const cause = { source: "a", type: "OrderCreated", error: "no route & no price" };
  assert.equal(
    placeOf("DEAD_LETTER", "a", cause).href,
    "/dead-letters?status=PENDING&source=a&type=OrderCreated&error=no+route+%26+no+price",
  );
  assert.equal(
    placeOf("DEAD_LETTER", "a", { source: "a", type: null, error: null }).href,
    "/dead-letters?status=PENDING&source=a&error=",
  );
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
  const open = { code: "BREAKER_OPEN", parts: { dependency: "the payment provider" } };
  const errors = ["try again in 4 seconds", "no answer"];
  const waiting = errors.map((error) => problem("SAGA_STUCK", `order-${error}`, "2026-01-01T00:00:00Z", "R", error));
  assert.equal(grouped(waiting).length, 2);
  const byBreaker = waiting.map((one) => ({ ...one, waitingForPhrases: [...one.waitingForPhrases, open] }));
  assert.equal(grouped(byBreaker).length, 1);
  const [provider] = grouped(byBreaker);
  assert.deepEqual(provider && sharedBy(provider), {
    waitedFor: undefined,
    command: "R",
    why: "stuck.why.provider",
    dependency: "the payment provider",
  });
  assert.deepEqual(found[0] && sharedBy(found[0]), {
    waitedFor: "stuck.for.RefundPayment",
    command: "RefundPayment",
    why: "stuck.why.admin",
    dependency: undefined,
  });
  assert.equal(found[3] && sharedBy(found[3]).why, "stuck.why.again");
  assert.equal(found[0] && placeOfGroup(found[0]).href, "/sagas?status=STUCK");
  assert.equal(found[1] && placeOfGroup(found[1]).href, "/orders/3");
});

test("dead letters of two causes are two problems, and a list that is cut off says how many there are", () => {
  const letters = (error: string | null, ofKind: number) => ({
    kind: "DEAD_LETTER",
    subject: "a",
    since: null,
    lastError: error,
    waitingForPhrases: [],
    ofKind,
    deadLetters: { source: "a", type: "OrderCreated", error },
  });
  const all = [letters("no route", 3), letters("no price", 3), letters(null, 3)];
  assert.deepEqual(
    grouped(all).map((group) => group.length),
    [1, 1, 1],
  );
  assert.match(grouped(all)[0] ? placeOfGroup(grouped(all)[0] ?? [letters("", 0)]).href : "", /error=no\+route/);
  assert.deepEqual(cutOff(all), []);
  assert.deepEqual(cutOff(all.slice(1)), [{ kind: "DEAD_LETTER", listed: 2, all: 3 }]);
  assert.deepEqual(cutOff([{ ...letters("", 1), ofKind: null }]), []);
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
  const counts = [
    { step: "two", active: 3, compensating: 1, stuck: 1 },
    { step: null, active: 2, compensating: 2, stuck: 0 },
  ];
  assert.deepEqual(stepsOf(sagas, counts), [
    { name: "one", compensation: null, now: 0, stuck: 0, medianMs: 2000 },
    { name: "two", compensation: null, now: 3, stuck: 1, medianMs: undefined },
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
