import assert from "node:assert/strict";
import { test } from "node:test";

import { followed, type SessionState } from "../src/session/session.ts";

const alice = { id: "alice", name: "alice@example.com" };
const bob = { id: "bob", name: "bob@example.com" };
const UNKNOWN: SessionState = { asking: false, signOuts: 0, lapsed: false };
const state = (changes: Partial<SessionState>): SessionState => ({ ...UNKNOWN, ...changes });

test("a sign-in as another person in another tab is that person's here, and shows nothing of the one before", () => {
  assert.deepEqual(followed(state({ user: alice }), bob), state({ user: bob, signOuts: 1 }));
});

test("a sign-out in another tab is one here", () => {
  assert.deepEqual(followed(state({ user: alice }), undefined), state({ user: undefined, signOuts: 1 }));
});

test("what is known already changes nothing, and nobody is signed in by another tab", () => {
  for (const same of [state({ user: alice }), state({})]) assert.equal(followed(same, alice), same);
});
