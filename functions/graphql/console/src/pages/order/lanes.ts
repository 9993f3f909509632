/** Which lane each thing of an order's timeline is in, and where on the time axis. */

export const LANES = ["client", "commands", "events", "saga", "messages", "providers", "readModels"] as const;
export type Lane = (typeof LANES)[number];

export type Happening = {
  at: string;
  kind: string;
  name: string;
  status: string | null;
  durationMs: number | null;
  subject: string | null;
  id: string | null;
  causationId: string | null;
};

const OF_CLIENTS = new Set(["CreateOrder", "CancelOrder"]);
const CALLS_PROVIDER = /(process|refund)[-_]payment|(arrange|cancel)[-_]shipping/;
const READ_MODEL = /^project[-_]/;
/** A subscription to a command's own topic: its function carries the command out. */
const CARRIES_OUT = /^([\w-]+)\.\1$/;

export const laneOf = ({ kind, name }: Pick<Happening, "kind" | "name">): Lane => {
  if (kind === "EVENT") return "events";
  if (kind === "SAGA") return "saga";
  if (kind === "COMMAND") return OF_CLIENTS.has(name) ? "client" : "commands";
  if (READ_MODEL.test(name)) return "readModels";
  if (CALLS_PROVIDER.test(name)) return "providers";
  return CARRIES_OUT.test(name) ? "commands" : "messages";
};

/** Name an entry so that the name stays the same when others are added. */
export const keyOf = ({ at, kind, name, subject }: Pick<Happening, "at" | "kind" | "name" | "subject">): string =>
  [at, kind, name, subject].filter(Boolean).join(" ");

export type Wait = { from: number; to: number; milliseconds: number };
export type Axis = { place: (at: number) => number; waits: Wait[]; end: number };

const SHORT_MS = 4;
const WAIT_MS = 2_000;

/**
 * Return a time axis from 0 to 1 on which a gap is as wide as the logarithm of its length: a step of a millisecond
 * stays visible beside a wait of minutes. `waits`: the gaps that are long enough to be marked.
 */
export const axisOf = (moments: readonly number[]): Axis => {
  const sorted = [...new Set(moments)].sort((a, b) => a - b);
  const widths = sorted.slice(1).map((at, index) => Math.log2(1 + (at - (sorted[index] ?? at)) / SHORT_MS));
  const total = widths.reduce((sum, width) => sum + width, 0) || 1;
  const places: number[] = [0];
  for (const width of widths) places.push((places.at(-1) ?? 0) + width / total);
  const place = (at: number): number => {
    const after = sorted.findIndex((moment) => moment >= at);
    if (after === -1) return 1;
    if (after === 0) return 0;
    const [left, right] = [sorted[after - 1] ?? at, sorted[after] ?? at];
    const [from, to] = [places[after - 1] ?? 0, places[after] ?? 1];
    const part = Math.log2(1 + (at - left) / SHORT_MS) / (Math.log2(1 + (right - left) / SHORT_MS) || 1);
    return from + (to - from) * part;
  };
  const waits = sorted.slice(1).flatMap((at, index): Wait[] => {
    const before = sorted[index] ?? at;
    return at - before >= WAIT_MS ? [{ from: place(before), to: place(at), milliseconds: at - before }] : [];
  });
  return { place, waits, end: sorted.at(-1) ?? 0 };
};

/**
 * Return the waits whose marks fit beside each other: a mark is `width` wide, in the middle of its wait. Of marks that
 * would overlap, the longer wait keeps its own.
 */
export const marked = (waits: readonly Wait[], width: number): Wait[] => {
  const middle = ({ from, to }: Wait) => (from + to) / 2;
  const kept: Wait[] = [];
  for (const wait of [...waits].sort((a, b) => b.milliseconds - a.milliseconds)) {
    if (kept.every((one) => Math.abs(middle(one) - middle(wait)) >= width)) kept.push(wait);
  }
  return kept.sort((a, b) => a.from - b.from);
};

export const endOf = ({ at, durationMs }: Pick<Happening, "at" | "durationMs">): number =>
  Date.parse(at) + (durationMs ?? 0);

export type Arrow = { from: number; to: number };

/**
 * Return the arrows from each entry's cause, by index. A command or delivery causes the events that name its own
 * causation id; of several attempts the one that succeeded.
 */
export const arrowsOf = (entries: readonly Happening[]): Arrow[] => {
  const messages = new Map<string, number>();
  const executions = new Map<string, number>();
  for (const [index, { id, kind, causationId, status }] of entries.entries()) {
    if (id && (kind === "EVENT" || kind === "SAGA")) messages.set(id, index);
    if (!causationId || (kind !== "COMMAND" && kind !== "DELIVERY")) continue;
    const before = entries[executions.get(causationId) ?? -1];
    if (!before || (before.status !== "success" && status === "success")) executions.set(causationId, index);
  }
  return entries.flatMap(({ kind, causationId }, to): Arrow[] => {
    if (!causationId || kind === "COMMAND") return [];
    const from = (kind === "EVENT" ? executions : messages).get(causationId) ?? messages.get(causationId);
    return from === undefined || from === to ? [] : [{ from, to }];
  });
};

type Around<Entry> = { causes: Entry[]; effects: Entry[] };

/** Return what has led to an entry, and to what it has led. */
export const around = <Entry extends Happening>(entries: readonly Entry[], entry: Entry): Around<Entry> => {
  const [index, arrows] = [entries.indexOf(entry), arrowsOf(entries)];
  const at = (found: number[]) => found.flatMap((one) => entries[one] ?? []);
  return {
    causes: at(arrows.filter(({ to }) => to === index).map(({ from }) => from)),
    effects: at(arrows.filter(({ from }) => from === index).map(({ to }) => to)),
  };
};

type Point = { x: number; y: number };

/**
 * Return the path of an arrow between two bars, from edge to edge: `half` is half of a bar's height, so that no bar
 * covers the arrow's head. Within a lane it bends above the bars.
 */
export const curveOf = (from: Point, to: Point, half: number): string => {
  const down = Math.sign(to.y - from.y);
  if (down === 0) {
    const [top, bend] = [from.y - half, from.y - 2 * half];
    return `M${from.x} ${top} C${from.x} ${bend} ${to.x} ${bend} ${to.x} ${top}`;
  }
  const bend = (from.y + to.y) / 2;
  return `M${from.x} ${from.y + down * half} C${from.x} ${bend} ${to.x} ${bend} ${to.x} ${to.y - down * half}`;
};

export type StepTimes = {
  status: string;
  command: string;
  compensation: string | null;
  startedAt: string | null;
  endedAt: string | null;
  undoneAt: string | null;
};

export type Sent = { commandType: string; timestamp: string };

/** Return how often a command had been sent by a moment. */
export const sentBy = (sent: readonly Sent[], command: string | null, moment: string): number =>
  sent.filter(({ commandType, timestamp }) => commandType === command && timestamp <= moment).length;

/** Return what had become of a saga's step at a moment. `sent`: the saga's commands. */
export const statusAt = (step: StepTimes, sent: readonly Sent[], moment: string): string => {
  const had = (at: string | null) => at !== null && at <= moment;
  if (!had(step.startedAt)) return "PENDING";
  if (had(step.undoneAt)) return "UNDONE";
  if (sentBy(sent, step.compensation, moment) > 0) return "UNDOING";
  if (!had(step.endedAt)) return step.endedAt ?? step.undoneAt ? "RUNNING" : step.status;
  return step.status === "FAILED" ? "FAILED" : step.undoneAt === null ? step.status : "DONE";
};
