import assert from "node:assert/strict";
import { test } from "node:test";

import {
  around,
  arrowsOf,
  axisOf,
  curveOf,
  type Happening,
  laneOf,
  marked,
  sentBy,
  statusAt,
} from "../src/pages/order/lanes.ts";

const at = (milliseconds: number): string => new Date(1_000_000 + milliseconds).toISOString();
const entry = (kind: string, name: string, more: Partial<Happening> = {}): Happening => ({
  at: at(0),
  kind,
  name,
  status: null,
  durationMs: null,
  subject: null,
  id: null,
  causationId: null,
  ...more,
});

test("each part of the shop has its lane", () => {
  assert.equal(laneOf(entry("COMMAND", "CreateOrder")), "client");
  assert.equal(laneOf(entry("COMMAND", "ReserveInventory")), "commands");
  assert.equal(laneOf(entry("EVENT", "OrderCreated")), "events");
  assert.equal(laneOf(entry("SAGA", "ProcessPayment")), "saga");
  assert.equal(laneOf(entry("DELIVERY", "order-saga.order-events")), "messages");
  assert.equal(laneOf(entry("DELIVERY", "process-payment.process-payment")), "providers");
  assert.equal(laneOf(entry("DELIVERY", "reserve-inventory.reserve-inventory")), "commands");
  assert.equal(laneOf(entry("DELIVERY", "project-orders.order-events")), "readModels");
  assert.equal(laneOf(entry("OUTBOX", "order-events")), "messages");
});

test("the axis keeps the order of time, and marks the waits", () => {
  const { place, waits } = axisOf([0, 1, 3, 1_000, 61_000]);
  const places = [0, 1, 2, 3, 500, 1_000, 30_000, 61_000].map(place);
  assert.deepEqual(places, [...places].sort((a, b) => a - b));
  assert.equal(places[0], 0);
  assert.equal(places.at(-1), 1);
  assert.ok(place(1) > 0.005, "a millisecond is visible beside a minute");
  assert.deepEqual(
    waits.map(({ milliseconds }) => milliseconds),
    [60_000],
  );
});

test("the marks of waits do not overlap, and the longest waits have theirs", () => {
  const wait = (at: number, milliseconds: number) => ({ from: at - 0.01, to: at + 0.01, milliseconds });
  const many = [wait(0.1, 2_000), wait(0.15, 90_000), wait(0.2, 3_000), wait(0.5, 4_000), wait(0.97, 2_500)];
  assert.deepEqual(
    marked(many, 0.1).map(({ milliseconds }) => milliseconds),
    [90_000, 4_000, 2_500],
  );
  assert.deepEqual(marked([], 0.1), []);
});

test("an axis without moments, or with one, has a place for everything", () => {
  for (const moments of [[], [5], [5, 5]]) {
    for (const moment of [0, 5, 9]) assert.ok(Number.isFinite(axisOf(moments).place(moment)));
  }
});

test("arrows lead from causes to effects", () => {
  const entries = [
    entry("COMMAND", "CreateOrder", { id: "execution", causationId: "request" }),
    entry("EVENT", "OrderCreated", { id: "event", causationId: "request" }),
    entry("DELIVERY", "order-saga.order-events", { id: "delivery", causationId: "event" }),
    entry("SAGA", "ReserveInventory", { id: "message", causationId: "event" }),
  ];
  assert.deepEqual(arrowsOf(entries), [
    { from: 0, to: 1 },
    { from: 1, to: 2 },
    { from: 1, to: 3 },
  ]);
  const [command, event, delivery, message] = entries;
  assert.ok(event);
  assert.deepEqual(around(entries, event), { causes: [command], effects: [delivery, message] });
});

test("an arrow ends at the edge of a bar, so that its head can be seen", () => {
  assert.equal(curveOf({ x: 0, y: 10 }, { x: 50, y: 110 }, 8), "M0 18 C0 60 50 60 50 102");
  assert.equal(curveOf({ x: 0, y: 110 }, { x: 50, y: 10 }, 8), "M0 102 C0 60 50 60 50 18");
  assert.equal(curveOf({ x: 0, y: 50 }, { x: 50, y: 50 }, 8), "M0 42 C0 34 50 34 50 42");
});

test("of several attempts the one that succeeded has caused the event", () => {
  const attempt = (status: string) => entry("DELIVERY", "process-payment.process-payment", { status, causationId: "m" });
  const entries = [
    attempt("SERVICE_UNAVAILABLE"),
    attempt("success"),
    attempt("success"),
    entry("EVENT", "PaymentProcessed", { causationId: "m" }),
  ];
  assert.deepEqual(arrowsOf(entries), [{ from: 1, to: 3 }]);
});

test("masked entries have no arrows", () => {
  assert.deepEqual(arrowsOf([entry("EVENT", "OrderCreated"), entry("SAGA", "ReserveInventory")]), []);
});

test("a step is shown as it was at the moment of the slider", () => {
  const names = { command: "ProcessPayment", compensation: "RefundPayment" };
  const step = { ...names, status: "UNDONE", startedAt: at(10), endedAt: at(20), undoneAt: at(40) };
  const sent = [
    { commandType: "ProcessPayment", timestamp: at(10) },
    { commandType: "RefundPayment", timestamp: at(30) },
    { commandType: "RefundPayment", timestamp: at(35) },
  ];
  assert.deepEqual(
    [0, 10, 20, 30, 40].map((moment) => statusAt(step, sent, at(moment))),
    ["PENDING", "RUNNING", "DONE", "UNDOING", "UNDONE"],
  );
  assert.deepEqual(
    [29, 30, 40].map((moment) => sentBy(sent, "RefundPayment", at(moment))),
    [0, 1, 2],
  );
});

test("a step that never succeeded runs until its compensation is sent", () => {
  const names = { command: "ArrangeShipping", compensation: "CancelShipping" };
  const step = { ...names, status: "UNDONE", startedAt: at(10), endedAt: null, undoneAt: at(30) };
  const sent = [{ commandType: "CancelShipping", timestamp: at(20) }];
  assert.deepEqual(
    [0, 10, 20, 30].map((moment) => statusAt(step, sent, at(moment))),
    ["PENDING", "RUNNING", "UNDOING", "UNDONE"],
  );
});
