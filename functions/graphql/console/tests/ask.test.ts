import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { parse } from "graphql";
import type { TadaDocumentNode } from "gql.tada";

import { ask } from "../src/api/client.ts";
import { Turns } from "../src/api/turns.ts";

test("a query is sent although an equal one is under way", async () => {
  const waiting: ((body: object) => void)[] = [];
  mock.method(globalThis, "fetch", () => new Promise<Response>((resolve) => {
    waiting.push((data) => resolve(Response.json({ data })));
  }));
  const document = parse("query Name { name }") as TadaDocumentNode<{ name: string }, Record<string, never>>;
  const [before, after] = [ask(document, {}), ask(document, {})];
  while (waiting.length < 2) await new Promise(setImmediate);
  waiting[1]?.({ name: "new" });
  waiting[0]?.({ name: "old" });
  assert.deepEqual([(await before).data, (await after).data], [{ name: "old" }, { name: "new" }]);
});

test("an answer counts unless a later request has one already", () => {
  const turns = new Turns();
  assert.equal(turns.waiting, false);
  const [first, second, third] = [turns.begin(), turns.begin(), turns.begin()];
  assert.ok(turns.take(second));
  assert.ok(!turns.take(first));
  assert.equal(turns.waiting, true);
  assert.ok(turns.take(third));
  assert.equal(turns.waiting, false);
});
