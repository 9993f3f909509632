import assert from "node:assert/strict";
import { test } from "node:test";

import type { Outcome } from "../src/ui/act.tsx";
import { keeper, type Kept } from "../src/ui/once.ts";

const LOST = ["NETWORK", "TIMEOUT", "SERVICE_UNAVAILABLE", "INTERNAL_ERROR", "UNKNOWN"];
const REFUSED = ["BUSINESS_RULE_VIOLATION", "CONFLICT", "INVALID_INPUT", "UNAUTHENTICATED"];

const failed = (code: string): Outcome<string> => ({ failure: { code, message: code } });

const storage = (): Kept => {
  const kept = new Map<string, string>();
  return {
    getItem: (name) => kept.get(name) ?? null,
    setItem: (name, value) => void kept.set(name, value),
    removeItem: (name) => void kept.delete(name),
  };
};

/** A keeper with keys that can be told apart, and the keys under which its mutations were sent. */
const recorded = (kept: Kept = storage(), name = "key") => {
  let made = 0;
  const clock = { now: 0 };
  const once = keeper(() => `${name} ${++made}`, kept, () => clock.now);
  const keys: string[] = [];
  const send = async (mutation: string, outcome: Outcome<string>) =>
    await once(mutation, (key) => {
      keys.push(key);
      return Promise.resolve(outcome);
    });
  return { send, keys, clock, once };
};

test("what is sent again after a lost answer has the same key, until there is an answer", async () => {
  for (const code of LOST) {
    const { send, keys } = recorded();
    await send("order a lamp", failed(code));
    await send("order a lamp", failed(code));
    await send("order a lamp", { data: "ordered" });
    await send("order a lamp", { data: "ordered another" });
    assert.deepEqual(keys, ["key 1", "key 1", "key 1", "key 2"], code);
  }
});

test("what was refused did not happen, so the next is new", async () => {
  for (const code of REFUSED) {
    const { send, keys } = recorded();
    await send("order a lamp", failed("TIMEOUT"));
    await send("order a lamp", failed(code));
    await send("order a lamp", { data: "ordered" });
    assert.deepEqual(keys, ["key 1", "key 1", "key 2"], code);
  }
});

test("another mutation, and an equal one much later, have keys of their own", async () => {
  const { send, keys, clock } = recorded();
  await send("one unit more", failed("NETWORK"));
  await send("two units more", failed("NETWORK"));
  clock.now = 3_600_000;
  await send("one unit more", { data: "adjusted" });
  assert.deepEqual(keys, ["key 1", "key 2", "key 3"]);
});

test("a reload of the page forgets no mutation whose answer was lost", async () => {
  const kept = storage();
  await recorded(kept).send("order a lamp", failed("NETWORK"));
  const { send, keys } = recorded(kept, "key after the reload");
  await send("order a lamp", { data: "ordered" });
  await send("order a lamp", { data: "ordered another" });
  assert.deepEqual(keys, ["key 1", "key after the reload 1"]);
});

test("a second press while the first is under way is the same mutation", async () => {
  const { once } = recorded();
  const keys: string[] = [];
  let lose: (outcome: Outcome<string>) => void = () => undefined;
  const first = once("order a lamp", (key) => {
    keys.push(key);
    return new Promise<Outcome<string>>((resolve) => {
      lose = resolve;
    });
  });
  await once("order a lamp", (key) => Promise.resolve({ data: keys.push(key) }));
  lose(failed("NETWORK"));
  await first;
  await once("order a lamp", (key) => Promise.resolve({ data: keys.push(key) }));
  assert.deepEqual(keys, ["key 1", "key 1", "key 1"]);
});
