import type { Key } from "../i18n/catalogue.ts";
import { type Cause, placeOf } from "./stuck-place.ts";

/** What groups need to know of a problem. */
export type Problem = {
  kind: string;
  subject: string;
  since: string | null;
  lastError: string | null;
  waitingForPhrases: readonly { code: string; parts: unknown }[];
  /** How many there are of its kind, listed or not. */
  ofKind?: number | null;
  deadLetters?: Cause | null;
};

const isOfOrder = ({ kind, subject }: Problem): boolean =>
  ["SAGA_STUCK", "SAGA_OVERDUE", "STEP_REPEATED"].includes(kind) && subject.startsWith("order-");

const commandOf = ({ waitingForPhrases: [first] }: Problem): unknown =>
  (first?.parts as { command?: unknown } | undefined)?.command;

const breakerOf = ({ waitingForPhrases }: Problem): { dependency?: unknown } | undefined =>
  waitingForPhrases.find(({ code }) => code === "BREAKER_OPEN")?.parts as { dependency?: unknown } | undefined;

/** What all orders of a group have in common: while a provider's breaker is open, errors tell less than the provider. */
const causeOf = (one: Problem): string => {
  const why = breakerOf(one) ?? one.lastError;
  const { type, error } = one.deadLetters ?? {};
  return JSON.stringify(isOfOrder(one) ? [one.kind, commandOf(one), why] : [one.kind, one.subject, type, error]);
};

const begun = ({ since }: Problem): number => (since === null ? Number.MAX_SAFE_INTEGER : Date.parse(since));

/** Put the orders that are held up at the same step by the same cause together, the oldest of each group first. */
export const grouped = <One extends Problem>(problems: readonly One[]): [One, ...One[]][] => {
  const groups = new Map<string, [One, ...One[]]>();
  for (const one of problems) {
    const group = groups.get(causeOf(one));
    if (group) group.push(one);
    else groups.set(causeOf(one), [one]);
  }
  for (const group of groups.values()) group.sort((a, b) => begun(a) - begun(b));
  return [...groups.values()];
};

/** Return the page on which a group is put right: for one order its own, for several the list with its bulk retry. */
export const placeOfGroup = ([first, ...others]: readonly [Problem, ...Problem[]]): ReturnType<typeof placeOf> =>
  others.length === 0
    ? placeOf(first.kind, first.subject, first.deadLetters)
    : { href: `/sagas?status=${first.kind === "SAGA_STUCK" ? "STUCK" : "ACTIVE"}`, label: "stuck.open.sagas" };

/** What the orders of a saga's command wait for, in the words of a shop. */
const WAITED_FOR: Record<string, Key> = {
  ReserveInventory: "stuck.for.ReserveInventory",
  ProcessPayment: "stuck.for.ProcessPayment",
  ArrangeShipping: "stuck.for.ArrangeShipping",
  ConfirmOrder: "stuck.for.ConfirmOrder",
  NotifyCustomer: "stuck.for.NotifyCustomer",
  ReleaseInventory: "stuck.for.ReleaseInventory",
  RefundPayment: "stuck.for.RefundPayment",
  CancelShipping: "stuck.for.CancelShipping",
  FailOrder: "stuck.for.FailOrder",
};

const WHY: Record<string, Key> = { SAGA_STUCK: "stuck.why.admin", SAGA_OVERDUE: "stuck.why.deadline" };

/** What several orders have in common: what they wait for, and why they wait. */
export type Shared = { waitedFor: Key | undefined; command: string; why: Key; dependency: string | undefined };

export const sharedBy = ([one]: readonly [Problem, ...Problem[]]): Shared => {
  const [command, dependency] = [String(commandOf(one)), breakerOf(one)?.dependency];
  const provider = typeof dependency === "string" ? dependency : undefined;
  const why = provider === undefined ? (WHY[one.kind] ?? "stuck.why.again") : "stuck.why.provider";
  return { waitedFor: WAITED_FOR[command], command, why, dependency: provider };
};

/** Return the kinds of which the server has listed only some, with how many there are of each. */
export const cutOff = <One extends Problem>(
  problems: readonly One[],
): { kind: One["kind"]; listed: number; all: number }[] =>
  [...new Set(problems.map(({ kind }) => kind))].flatMap((kind) => {
    const listed = problems.filter((one) => one.kind === kind);
    const all = Math.max(...listed.map(({ ofKind }) => ofKind ?? 0));
    return all > listed.length ? [{ kind, listed: listed.length, all }] : [];
  });
