import type { Key } from "../i18n/catalogue.ts";
import type { Value } from "../ui/chart.ts";

/** A minute of the dashboard's history. What is null was not measured in it. */
export type Minute = {
  at: string;
  commands: number;
  queries: number;
  deliveries: number;
  errors: number;
  failedDeliveries: number;
  averageLatencyMs: Value;
  lagSeconds: Value;
  lagStreams: Value;
  outboxWaiting: Value;
  sagasStarted: Value;
  sagasCompensating: Value;
  sagasStuck: Value;
};

export type Chart = { name: Key; unit: "number" | "milliseconds"; values: readonly Value[] };

/** Return the charts of these minutes, of which the last is the present one: what is counted in it is not known yet. */
export const chartsOf = (minutes: readonly Minute[]): Chart[] => {
  const counted = (of: (minute: Minute) => Value): Value[] => [...minutes.slice(0, -1).map(of), null];
  return [
    { name: "overview.commands", unit: "number", values: counted(({ commands }) => commands) },
    { name: "overview.queries", unit: "number", values: counted(({ queries }) => queries) },
    { name: "overview.deliveries", unit: "number", values: counted(({ deliveries }) => deliveries) },
    { name: "overview.errors", unit: "number", values: counted(({ errors }) => errors) },
    { name: "overview.failedDeliveries", unit: "number", values: counted(({ failedDeliveries }) => failedDeliveries) },
    { name: "overview.latency", unit: "milliseconds", values: counted(({ averageLatencyMs }) => averageLatencyMs) },
    {
      name: "overview.lag",
      unit: "milliseconds",
      values: minutes.map(({ lagSeconds }) => (lagSeconds === null ? null : lagSeconds * 1000)),
    },
    { name: "overview.lagStreams", unit: "number", values: minutes.map(({ lagStreams }) => lagStreams) },
    { name: "overview.outbox", unit: "number", values: minutes.map(({ outboxWaiting }) => outboxWaiting) },
    { name: "overview.sagasStarted", unit: "number", values: minutes.map(({ sagasStarted }) => sagasStarted) },
    {
      name: "overview.sagasCompensating",
      unit: "number",
      values: minutes.map(({ sagasCompensating }) => sagasCompensating),
    },
    { name: "overview.sagasStuck", unit: "number", values: minutes.map(({ sagasStuck }) => sagasStuck) },
  ];
};

const PRESENT = 3;

/** Return the newest value, null when it is not one of the last minutes': then the present one is not known. */
export const presentOf = (values: readonly Value[]): Value =>
  values.slice(-PRESENT).findLast((value) => value !== null) ?? null;

/** Return which minute a place in a chart stands for. `share`: of the chart's width, from its left. */
export const minuteAt = (share: number, minutes: number): number =>
  Math.min(minutes - 1, Math.max(0, Math.round(share * (minutes - 1))));
