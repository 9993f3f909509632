import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { client } from "../src/api/client.ts";
import { failureOf } from "../src/api/failure.ts";
import type { Outcome } from "../src/ui/act.tsx";
import { all, type Batch, each, outcomeOf, pages, type Refusal } from "../src/ui/each.ts";

const failure = { code: "CONFLICT", message: "was retried meanwhile" };
const wait = { code: "SERVICE_UNAVAILABLE", message: "too many requests", retryAfter: 30 };
const act = (id: string): Promise<Outcome<unknown>> => Promise.resolve(id.startsWith("bad") ? { failure } : { data: id });
const say = {
  failed: ({ n, of, which }: { n: number; of: number; which: string }) => `${n} of ${of}: ${which}`,
  cut: ({ n, why }: { n: number; why: string }) => `cut after ${n}: ${why}`,
};
const ended = (batch: Partial<Batch>): Batch => ({ number: 0, refused: [], stopped: false, ...batch });

/** Options that record what is shown, and how long is waited. */
const watched = (signal = new AbortController().signal) => {
  const shown: (number | undefined)[][] = [];
  const waited: number[] = [];
  const pause = (seconds: number) => {
    waited.push(seconds);
    return Promise.resolve();
  };
  return { shown, waited, signal, pause, progress: (number: number, seconds?: number) => shown.push([number, seconds]) };
};

test("one that fails does not keep the others from being tried, and is named", async () => {
  const options = watched();
  const batch = await each(["a", "bad 1", "b"], act, options);
  assert.deepEqual(batch, ended({ number: 3, refused: [{ id: "bad 1", failure }] }));
  assert.deepEqual(
    options.shown.map(([number]) => number),
    [1, 2, 3],
  );
  assert.deepEqual(outcomeOf(batch, say), {
    failure: { code: "CONFLICT", message: "1 of 3: bad 1: was retried meanwhile" },
  });
});

test("one that the server asks to wait for is repeated after that time, and not refused", async () => {
  const options = watched();
  const asked: string[] = [];
  const limited = (id: string): Promise<Outcome<unknown>> => {
    asked.push(id);
    return Promise.resolve(id === "b" && asked.length < 4 ? { failure: wait } : { data: id });
  };
  assert.deepEqual(await each(["a", "b", "c"], limited, options), ended({ number: 3 }));
  assert.deepEqual(asked, ["a", "b", "b", "b", "c"]);
  assert.deepEqual(options.waited, [30, 30]);
  assert.deepEqual(options.shown[2], [2, 30]);
});

test("the rate limit's answer says how long to wait", async () => {
  const extensions = { code: "SERVICE_UNAVAILABLE", retryAfter: 42 };
  const body = JSON.stringify({ errors: [{ message: "too many requests", extensions }] });
  const answer = new Response(body, { status: 429, headers: { "Content-Type": "application/json" } });
  mock.method(globalThis, "fetch", () => Promise.resolve(answer));
  const { error } = await client.query("{ viewer { uid } }", {}).toPromise();
  assert.equal(error && failureOf(error).retryAfter, 42);
  mock.restoreAll();
});

test("a server that asks to wait again and again is given up for this one", async () => {
  const options = watched();
  const batch = await each(["a"], () => Promise.resolve({ failure: wait }), options);
  assert.deepEqual(batch.refused, [{ id: "a", failure: wait }]);
  assert.equal(options.waited.length, 5);
});

test("a batch that is stopped says how far it came", async () => {
  const stop = new AbortController();
  const stopping = async (id: string) => {
    if (id === "b") stop.abort();
    return await act(id);
  };
  assert.deepEqual(await each(["a", "b", "c"], stopping, watched(stop.signal)), ended({ number: 2, stopped: true }));
  const next = pages(() => Promise.resolve({ data: { edges: [{ node: { id: "d" } }], pageInfo: { endCursor: "d" } } }));
  assert.deepEqual(await all(next, act, watched(stop.signal)), ended({ stopped: true }));
});

test("stopping ends a wait at once", { timeout: 5_000 }, async () => {
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 10);
  const options = { signal: stop.signal, progress: () => undefined };
  const batch = await each(["a", "b"], () => Promise.resolve({ failure: wait }), options);
  assert.deepEqual([batch.number, batch.stopped, batch.refused.map(({ id }) => id)], [1, true, ["a"]]);
});

test("all of a filter ends although those that fail stay in it", async () => {
  const waiting = new Set(["a", "bad 1", "b", "bad 2", "c"]);
  const next = () => Promise.resolve({ data: [...waiting].slice(0, 3) });
  const { number, refused } = await all(
    next,
    async (id) => {
      const outcome = await act(id);
      if ("data" in outcome) waiting.delete(id);
      return outcome;
    },
    watched(),
  );
  assert.deepEqual([number, refused.map(({ id }) => id)], [5, ["bad 1", "bad 2"]]);
  assert.deepEqual(outcomeOf(ended({ number: 2 }), say), { data: 2 });
});

test("all are read page by page, also beyond the first", async () => {
  const ids = Array.from({ length: 7 }, (_, index) => `id ${index}`);
  const done: string[] = [];
  const next = pages((after) => {
    const from = after === null ? 0 : ids.indexOf(after) + 1;
    const found = ids.slice(from, from + 3);
    const edges = found.map((id) => ({ node: { id } }));
    return Promise.resolve({ data: { edges, pageInfo: { endCursor: found.at(-1) ?? null } } });
  });
  const options = watched();
  const batch = await all(next, (id) => Promise.resolve({ data: done.push(id) }), options);
  assert.deepEqual([batch.number, done], [7, ids]);
  assert.deepEqual(options.shown.at(-1), [7, undefined]);
});

test("what was done before the list failed is told with why it ended", async () => {
  let asked = 0;
  const next = (): Promise<Outcome<string[]>> =>
    Promise.resolve(asked++ === 0 ? { data: ["a", "bad 1"] } : { failure: { code: "TIMEOUT", message: "no answer" } });
  const batch = await all(next, act, watched());
  assert.deepEqual([batch.number, batch.refused.length, batch.cut?.code], [2, 1, "TIMEOUT"]);
  assert.deepEqual(outcomeOf(batch, say), {
    failure: { code: "TIMEOUT", message: "cut after 2: no answer 1 of 2: bad 1: was retried meanwhile" },
  });
});

test("of many that fail the first are named", () => {
  const refused = Array.from({ length: 9 }, (_, index): Refusal => ({ id: `bad ${index}`, failure }));
  const outcome = outcomeOf(ended({ number: 9, refused }), say);
  assert.ok("failure" in outcome && outcome.failure.message.includes("bad 4") && outcome.failure.message.endsWith("…"));
  assert.ok("failure" in outcome && !outcome.failure.message.includes("bad 5"));
});
