import assert from "node:assert/strict";
import { test } from "node:test";

import { all, each, outcomeOf, type Refusal } from "../src/ui/each.ts";

const failure = { code: "CONFLICT", message: "was retried meanwhile" };
const act = (id: string) => Promise.resolve(id.startsWith("bad") ? { failure } : { data: id });
const say = ({ n, of, which }: { n: number; of: number; which: string }) => `${n} of ${of}: ${which}`;

test("one that fails does not keep the others from being tried, and is named", async () => {
  const progress: number[] = [];
  const refused = await each(["a", "bad 1", "b"], act, (number) => progress.push(number));
  assert.deepEqual(refused, [{ id: "bad 1", failure }]);
  assert.deepEqual(progress, [1, 2, 3]);
  assert.deepEqual(outcomeOf(3, refused, say), {
    failure: { code: "CONFLICT", message: "1 of 3: bad 1: was retried meanwhile" },
  });
});

test("all of a filter ends although those that fail stay in it", async () => {
  const waiting = new Set(["a", "bad 1", "b", "bad 2", "c"]);
  const next = () => Promise.resolve([...waiting].slice(0, 3));
  const { number, refused } = await all(
    next,
    async (id) => {
      const outcome = await act(id);
      if ("data" in outcome) waiting.delete(id);
      return outcome;
    },
    () => undefined,
  );
  assert.deepEqual([number, refused.map(({ id }) => id)], [5, ["bad 1", "bad 2"]]);
  assert.deepEqual(outcomeOf(2, [], say), { data: 2 });
});

test("of many that fail the first are named", () => {
  const refused = Array.from({ length: 9 }, (_, index): Refusal => ({ id: `bad ${index}`, failure }));
  const outcome = outcomeOf(9, refused, say);
  assert.ok("failure" in outcome && outcome.failure.message.includes("bad 4") && outcome.failure.message.endsWith("…"));
  assert.ok("failure" in outcome && !outcome.failure.message.includes("bad 5"));
});
