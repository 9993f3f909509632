import assert from "node:assert/strict";
import { test } from "node:test";

import { chartsOf, type Minute, minuteAt, presentOf } from "../src/pages/charts.ts";
import { linesOf, mostOf } from "../src/ui/chart.ts";

test("the largest value is at the top of a chart, and zero at its bottom", () => {
  assert.deepEqual(linesOf([0, 5, 10], 200, 40), [
    [
      [0, 38],
      [100, 21],
      [200, 4],
    ],
  ]);
  assert.deepEqual(linesOf([0, 0], 200, 40), [
    [
      [0, 38],
      [200, 38],
    ],
  ]);
  assert.equal(mostOf([null, 3, 7, null]), 7);
  assert.equal(mostOf([null]), 0);
});

test("an unknown value is a gap, not a zero, and a value between gaps is a dash", () => {
  const lines = linesOf([10, 10, null, 10, null], 200, 40);
  assert.deepEqual(lines, [
    [
      [0, 4],
      [50, 4],
    ],
    [
      [125, 4],
      [175, 4],
    ],
  ]);
  assert.deepEqual(linesOf([null, null], 200, 40), []);
  assert.deepEqual(linesOf([], 200, 40), []);
  assert.deepEqual(linesOf([1], 200, 40), [
    [
      [0, 4],
      [100, 4],
    ],
  ]);
});

test("the present value is one of the last minutes', or unknown", () => {
  assert.equal(presentOf([1, 2, null]), 2);
  assert.equal(presentOf([1, 2, null, null]), 2);
  assert.equal(presentOf([1, 2, null, null, null]), null);
  assert.equal(presentOf([0]), 0);
});

const minute = (at: number, measured: Partial<Minute>): Minute => ({
  at: new Date(at * 60_000).toISOString(),
  commands: 1,
  queries: 2,
  deliveries: 3,
  errors: 0,
  failedDeliveries: 0,
  averageLatencyMs: null,
  lagSeconds: null,
  lagStreams: null,
  outboxWaiting: null,
  sagasStarted: null,
  sagasCompensating: null,
  sagasStuck: null,
  ...measured,
});

test("the present minute is not over, so what is counted in it is unknown, and what is measured in it is known", () => {
  const charts = chartsOf([minute(0, { averageLatencyMs: 12 }), minute(1, {}), minute(2, { lagSeconds: 1.5 })]);
  const values = Object.fromEntries(charts.map((chart) => [chart.name, chart.values]));
  assert.deepEqual(values["overview.commands"], [1, 1, null]);
  assert.deepEqual(values["overview.latency"], [12, null, null]);
  assert.deepEqual(values["overview.lag"], [null, null, 1500]);
  assert.deepEqual(values["overview.outbox"], [null, null, null]);
});

test("a place in a chart stands for the nearest minute", () => {
  assert.deepEqual(
    [-0.1, 0, 0.24, 0.26, 0.5, 1, 1.2].map((share) => minuteAt(share, 3)),
    [0, 0, 0, 1, 1, 2, 2],
  );
});
