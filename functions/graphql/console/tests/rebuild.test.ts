import assert from "node:assert/strict";
import { test } from "node:test";

import { needsForce, rebuildOf, shareOf } from "../src/pages/rebuild.ts";

test("an empty limit is no limit", () => {
  assert.deepEqual(rebuildOf({ limit: "", switch: "no" }), { documentsPerSecond: null, switchWhenEqual: false });
  assert.deepEqual(rebuildOf({ limit: "50", switch: "yes" }), { documentsPerSecond: 50, switchWhenEqual: true });
});

test("the bar of a rebuild is never longer than its place", () => {
  assert.equal(shareOf(0, 0), 0);
  assert.equal(shareOf(30, 40), 0.75);
  assert.equal(shareOf(41, 40), 1); // deliveries add new documents
});

test("only a new generation that was compared and found equal is read without force", () => {
  const compared = (isEqual: boolean, ended: string | null = "2026-01-01T00:00:00Z") => ({ ended, isEqual });
  assert.equal(needsForce({ state: "BUILDING", unread: true, comparison: null }), true);
  assert.equal(needsForce({ state: "KEPT", unread: true, comparison: null }), true);
  assert.equal(needsForce({ state: "KEPT", unread: true, comparison: compared(false) }), true);
  assert.equal(needsForce({ state: "KEPT", unread: true, comparison: compared(true, null) }), true);
  assert.equal(needsForce({ state: "KEPT", unread: true, comparison: compared(true) }), false);
  assert.equal(needsForce({ state: "KEPT", unread: false, comparison: compared(false) }), false);
});
