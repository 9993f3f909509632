import assert from "node:assert/strict";
import { test } from "node:test";

import { type EventList, KEPT, rowOf, withGap, withLive, withNewest, withOlder } from "../src/pages/event-list.ts";
import { begun, listed, noNews, withMessages } from "../src/pages/message-list.ts";

type Row = { id: number; text?: string };

/** Return rows from the first number down to the last. */
const rows = (first: number, last: number): Row[] =>
  Array.from({ length: first - last + 1 }, (_, index) => ({ id: first - index }));

const numbers = (list: EventList<Row>) => list.rows.map(({ id }) => id);

const shown: EventList<Row> = { rows: rows(300, 101), next: "101" };

test("live events come first, each once, also when a transaction was committed late", () => {
  const list = withLive(shown, [{ id: 302 }, { id: 300 }, { id: 303 }, { id: 301 }]);
  assert.deepEqual(numbers(list).slice(0, 5), [303, 302, 301, 300, 299]);
  assert.equal(list.rows.length, 203);
  assert.equal(list.next, "101");
});

test("the newest page fills what is missing when it reaches down to what was listed", () => {
  const list = withNewest(withLive(withGap(shown), [{ id: 403 }]), rows(402, 203), "203");
  assert.deepEqual(numbers(list), numbers({ rows: rows(403, 101) }));
  assert.deepEqual([list.next, list.gap], ["101", undefined]);
});

test("the newest page replaces the list when events between the two are missing", () => {
  const live = withLive(withGap(shown), [{ id: 601 }, { id: 602 }]);
  const list = withNewest(live, rows(601, 402), "402");
  assert.deepEqual(numbers(list), numbers({ rows: rows(602, 402) }));
  assert.deepEqual([list.next, list.gap], ["402", undefined]);
});

test("a gap stays until the newest page was read, however often the stream begins", () => {
  const again = withGap(withLive(withGap(shown), rows(601, 600)));
  assert.equal(again.gap, 300);
  assert.deepEqual(numbers(withNewest(again, rows(602, 403), "403")), numbers({ rows: rows(602, 403) }));
});

test("the first page is the list, with what came meanwhile", () => {
  const live = withLive(withGap<Row>({ rows: [] }), [{ id: 5 }]);
  assert.deepEqual(withNewest(live, rows(4, 1), undefined), { rows: rows(5, 1), next: undefined });
  assert.deepEqual(numbers(withNewest(withGap<Row>({ rows: [] }), [], undefined)), []);
});

test("the page of a restored log replaces what that log does not have", () => {
  const list = withNewest(withGap(shown), rows(250, 51), "51");
  assert.deepEqual(numbers(list), numbers({ rows: rows(250, 51) }));
});

test("an older page is put below", () => {
  const list = withOlder(shown, rows(100, 1), undefined);
  assert.deepEqual(numbers(list), numbers({ rows: rows(300, 1) }));
  assert.equal(list.next, undefined);
});

test("a full list keeps the newest, and reads no older ones for which it has no room", () => {
  const list = withLive({ rows: rows(KEPT + 10, 11), next: "11" }, [{ id: KEPT + 11 }]);
  assert.deepEqual([list.rows.length, list.rows[0]?.id, list.rows.at(-1)?.id], [KEPT, KEPT + 11, 12]);
  assert.equal(list.next, undefined);
});

test("live events at the top of a full list take little time", () => {
  let list: EventList<Row> = { rows: rows(KEPT, 1) };
  const began = performance.now();
  for (let round = 1; round <= 100; round++) list = withLive(list, [{ id: KEPT + round }]);
  assert.ok(performance.now() - began < 1_000);
});

test("a row is found by its number", () => {
  assert.deepEqual(rowOf(shown.rows, 200), { id: 200 });
  assert.equal(rowOf(shown.rows, 301), undefined);
  assert.equal(rowOf(shown.rows, 100), undefined);
  assert.equal(rowOf<Row>([], 1), undefined);
});

const message = (id: string) => ({ id });

test("messages that were read anew take the place of those from before the stream began", () => {
  const before = withMessages(noNews(""), [message("a"), message("b")]);
  assert.deepEqual(listed(before, [message("a"), message("0")], 1), [message("b"), message("a"), message("0")]);
  const after = withMessages(begun(before, 5), [message("z")]);
  assert.deepEqual(
    listed(after, [message("0")], 1).map(({ id }) => id),
    ["z", "b", "a", "0"],
  );
  assert.deepEqual(
    listed(after, [message("z"), message("y"), message("x")], 6).map(({ id }) => id),
    ["z", "y", "x"],
  );
});
