import assert from "node:assert/strict";
import { test } from "node:test";

import { shownIn } from "../src/pages/order/lists.ts";

test("what lists show of an order is compared with its present status", () => {
  assert.equal(shownIn("CONFIRMED", undefined, undefined), "asking");
  assert.equal(shownIn("CONFIRMED", "CONFIRMED", undefined), "same");
  assert.equal(shownIn("CONFIRMED", "SHIPPED", undefined), "behind");
});

test("only an order that the read model lacks is said to be missing", () => {
  const failure = (code: string, message = "") => ({ code, message });
  const accepted = "order 1 was accepted and is not visible yet; try again in a moment";
  assert.equal(shownIn("PENDING", undefined, failure("NOT_FOUND")), "missing");
  assert.equal(shownIn("PENDING", undefined, failure("SERVICE_UNAVAILABLE", accepted)), "missing");
  assert.equal(shownIn("PENDING", undefined, failure("SERVICE_UNAVAILABLE", "firestore does not answer")), "failed");
  assert.equal(shownIn("PENDING", "PENDING", failure("NETWORK", "Failed to fetch")), "failed");
});
