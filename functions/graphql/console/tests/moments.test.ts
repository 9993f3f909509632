import assert from "node:assert/strict";
import { test } from "node:test";

import { exact, indexAt, momentsOf } from "../src/pages/order/moments.ts";

test("every moment of an order can be reached, also two within a millisecond", () => {
  const at = (micros: string) => ({ at: `2026-01-01T00:00:00.${micros}Z` });
  const moments = momentsOf([at("123900"), at("123457"), at("123456"), at("123457")]);
  assert.equal(moments.length, 3);
  assert.deepEqual(
    moments.map((moment) => indexAt(moments, moment)),
    [0, 1, 2],
  );
  assert.equal(indexAt(moments, null), 2);
  assert.equal(indexAt(moments, "2025-12-31T23:59:59.999999Z"), -1);
});

test("an address's moment keeps its microseconds, and no other text is a moment", () => {
  assert.equal(exact("2026-01-01T00:00:00.123456Z"), "2026-01-01T00:00:00.123456Z");
  assert.equal(exact("2026-01-01T00:00:00Z"), "2026-01-01T00:00:00.000000Z");
  assert.equal(exact("2026-01-01T09:00:00.5+09:00"), "2026-01-01T00:00:00.500000Z");
  for (const text of ["garbage", "", "2026-13-01T00:00:00.123456Z", "+275760-09-13T00:00:00.000Z"]) {
    assert.equal(exact(text), null, text);
  }
});
