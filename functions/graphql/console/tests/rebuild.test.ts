import assert from "node:assert/strict";
import { test } from "node:test";

import { leftOf, needsForce, rebuildOf, shareOf } from "../src/pages/rebuild.ts";

test("an empty limit is no limit", () => {
  assert.deepEqual(rebuildOf({ limit: "", switch: "no" }), {
    documentsPerSecond: null,
    switchWhenEqual: false,
    reason: null,
  });
  assert.deepEqual(rebuildOf({ limit: "50", switch: "yes", reason: " a new field " }), {
    documentsPerSecond: 50,
    switchWhenEqual: true,
    reason: "a new field",
  });
});

test("a change of the limit leaves whether the rebuild switches by itself", () => {
  assert.equal(rebuildOf({ limit: "50" }).switchWhenEqual, undefined);
});

test("a rebuild never has 0 ms left", () => {
  assert.equal(leftOf(0, "en"), "–");
  assert.equal(leftOf(null, "en"), "–");
  assert.equal(leftOf(0.02, "en"), "1 s");
  assert.equal(leftOf(90, "en"), "1.5 min");
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
