import assert from "node:assert/strict";
import { test } from "node:test";

import { drawn, rateOf, readingOf, subscriptionsOf, widthOf, withReading } from "../src/pages/topology-layout.ts";

const connection = (
  targetService: string,
  calls: number | null,
  errors: number | null,
  totalDurationMs: number | null = calls,
) => ({
  targetService,
  connectionType: "SUBSCRIPTION",
  status: "UNKNOWN",
  latencyMs: null,
  calls,
  errors,
  totalDurationMs,
});

const service = (calls: number | null, errors: number | null, totalDurationMs: number | null = calls) => [
  {
    serviceName: "process_payment",
    group: "command",
    status: "HEALTHY",
    connections: [connection("process-payment", calls, errors, totalDurationMs)],
  },
];

test("an edge has the rates between the first and the last reading of five minutes", () => {
  let readings = withReading([], readingOf(service(10, 1, 5_000), 0));
  assert.equal(rateOf(readings, "process-payment process_payment"), undefined);
  readings = withReading(readings, readingOf(service(10, 1, 5_000), 30_000));
  assert.deepEqual(rateOf(readings, "process-payment process_payment"), { calls: 0, errors: 0, averageMs: 0 });
  readings = withReading(readings, readingOf(service(16, 4, 5_300), 60_000));
  assert.deepEqual(rateOf(readings, "process-payment process_payment"), { calls: 6, errors: 3, averageMs: 50 });
  readings = withReading(readings, readingOf(service(20, 4), 301_000));
  assert.deepEqual(readings.map(({ at }) => at), [30_000, 60_000, 301_000]);
  assert.equal(rateOf(readings, "no such"), undefined);
  assert.equal(rateOf([readingOf(service(null, null), 0)], "process-payment process_payment"), undefined);
});

test("a function's subscriptions have their names, and what they were given", () => {
  const readings = [readingOf(service(10, 1), 0), readingOf(service(16, 4), 60_000)];
  assert.deepEqual(subscriptionsOf(service(16, 4)[0], readings), [
    {
      name: "process-payment.process-payment",
      topic: "process-payment",
      calls: 16,
      errors: 4,
      totalDurationMs: 16,
      rates: { calls: 6, errors: 3, averageMs: 1 },
    },
  ]);
  assert.deepEqual(subscriptionsOf(undefined, readings), []);
});

test("no name is cut, and every edge has a place for its label", () => {
  const long = "record-dead-letter.process-payment.process-payment.dead";
  assert.ok(widthOf(long) > long.length * 7);
  const { edges, nodes } = drawn(service(1, 0));
  assert.equal(nodes.length, 2);
  assert.ok(edges.every(({ x, y }) => Number.isFinite(x) && Number.isFinite(y)));
});

test("groups that no connection joins are placed in columns on a wide screen, and none covers another", () => {
  const services = Array.from({ length: 6 }, (_, index) => ({
    serviceName: `function_${index}`,
    group: "command",
    status: "HEALTHY",
    connections: [connection(`topic-${Math.floor(index / 2)}`, 1, 0)],
  }));
  const [narrow, wide] = [drawn(services, 600), drawn(services, 3_000)];
  assert.ok(wide.width > narrow.width * 2 && wide.height < narrow.height);
  for (const { nodes } of [narrow, wide]) {
    assert.equal(nodes.length, 9);
    for (const [index, one] of nodes.entries()) {
      for (const other of nodes.slice(index + 1)) {
        const apart = Math.abs(one.x - other.x) >= (one.width + other.width) / 2 || Math.abs(one.y - other.y) >= one.height;
        assert.ok(apart, `${one.id} covers ${other.id}`);
      }
    }
  }
});
