import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { selectedUnder } from "../src/pages/letters/selection.ts";
import { subjectOf } from "../src/pages/letters/subject.ts";
import { withPresent } from "../src/pages/options.ts";
import { withinOf } from "../src/pages/tree.ts";
import { changedFields } from "../src/ui/changed.ts";
import { justBefore, localOf, momentIn, utcOf } from "../src/ui/moments.ts";
import { pageState } from "../src/ui/page-state.ts";
import { throttle } from "../src/ui/throttle.ts";
import { shownFor } from "../src/ui/typed.ts";

test("a page that was emptied is no empty list", () => {
  const at = (address: string) => new URLSearchParams(address);
  assert.equal(pageState(0, at("status=PENDING")), "nothing");
  assert.equal(pageState(0, at("status=PENDING&after=x")), "emptied");
  assert.equal(pageState(0, at("before=x")), "emptied");
  assert.equal(pageState(5, at("after=x")), "rows");
});

test("a message is looked for from the millisecond before its time, of which a Date cuts the microseconds", () => {
  assert.equal(justBefore("2026-11-30T14:00:00.000999Z"), "2026-11-30T13:59:59.999Z");
  assert.equal(justBefore("2026-11-30T23:00:00.5+09:00"), "2026-11-30T14:00:00.499Z");
  assert.equal(justBefore("yesterday"), null);
  assert.equal(justBefore(null), null);
});

test("under another filter only what is listed is still selected", () => {
  const selection = { under: "all", ids: new Set(["a", "b"]) };
  assert.deepEqual([...selectedUnder(selection, "all", ["c"])], ["a", "b"]);
  assert.deepEqual([...selectedUnder(selection, "pending", ["b", "c"])], ["b"]);
});

test("a letter is about a category, a product or an order, or about nothing with a state", () => {
  assert.deepEqual(subjectOf("order-01a2-38"), { kind: "order", id: "01a2-38" });
  assert.deepEqual(subjectOf("product-7"), { kind: "product", id: "7" });
  assert.equal(subjectOf("saga-7"), undefined);
  assert.equal(subjectOf(null), undefined);
});

test("a moment that cannot be read is none", () => {
  for (const given of ["garbage", "2026-13-45T00:00:00Z", "2026", "", null, "+020226-01-01T00:00:00Z"]) {
    assert.equal(momentIn(given), null);
  }
  const at = "2026-01-01T00:01:00.000Z";
  assert.equal(momentIn(at), at);
  assert.equal(utcOf(localOf(at)), at);
  assert.equal(utcOf(""), undefined);
  assert.equal(utcOf("275760-12-31T00:00"), undefined);
});

test("a space that is typed stays, and an address that was changed is shown", () => {
  assert.equal(shownFor("blue ", "blue"), "blue ");
  assert.equal(shownFor("blue ", "red"), "red");
  assert.equal(shownFor("blue", ""), "");
});

test("only the fields that were changed are sent, and an emptied one is null", () => {
  const opened = { name: "lamp", description: "two\r\nlines", price: "5", parentId: "" };
  const given = { name: "lamp", description: "two\nlines", price: "5", parentId: "" };
  assert.deepEqual(changedFields(opened, given), {});
  assert.deepEqual(changedFields(opened, { ...given, price: "6" }), { price: "6" });
  assert.deepEqual(changedFields(opened, { ...given, description: "" }), { description: null });
});

test("a form offers the present choice also when it is not among the others", () => {
  const options = [{ value: "a", label: "A" }];
  assert.deepEqual(withPresent(options, { value: "a", label: "the same" }), options);
  assert.deepEqual(
    withPresent(options, { value: "z", label: "Z" }).map(({ value }) => value),
    ["z", "a"],
  );
  assert.deepEqual(withPresent(options, undefined), options);
});

test("a category cannot be moved into itself or what is below it", () => {
  const category = (id: string, parentId: string | null) => ({ id, name: id, parentId });
  const all = [category("c", "b"), category("b", "a"), category("a", null), category("other", null)];
  assert.deepEqual([...withinOf(all, "a")].sort(), ["a", "b", "c"]);
  assert.deepEqual([...withinOf(all, "c")], ["c"]);
});

test("a burst makes one call, at its end, and none after the page was left", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  let calls = 0;
  const { ask, cancel } = throttle(() => calls++, 1_000);
  for (let n = 0; n < 100; n++) ask();
  mock.timers.tick(999);
  assert.equal(calls, 0);
  mock.timers.tick(10_000);
  assert.equal(calls, 1);
  ask();
  cancel();
  mock.timers.tick(10_000);
  assert.equal(calls, 1);
  ask();
  mock.timers.tick(1_000);
  assert.equal(calls, 2);
  mock.timers.reset();
});
