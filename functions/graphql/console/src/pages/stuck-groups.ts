import { placeOf } from "./stuck-place.ts";

/** What groups need to know of a problem. */
export type Problem = {
  kind: string;
  subject: string;
  since: string | null;
  lastError: string | null;
  waitingForPhrases: readonly { code: string; parts: unknown }[];
};

const isOfOrder = ({ kind, subject }: Problem): boolean =>
  ["SAGA_STUCK", "SAGA_OVERDUE", "STEP_REPEATED"].includes(kind) && subject.startsWith("order-");

const commandOf = ({ waitingForPhrases: [first] }: Problem): unknown =>
  (first?.parts as { command?: unknown } | undefined)?.command;

const causeOf = (one: Problem): string =>
  JSON.stringify(isOfOrder(one) ? [one.kind, commandOf(one), one.lastError] : [one.kind, one.subject]);

const begun = ({ since }: Problem): number => (since === null ? Number.MAX_SAFE_INTEGER : Date.parse(since));

/** Put the orders that are held up at the same step by the same error together, the oldest of each group first. */
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
    ? placeOf(first.kind, first.subject)
    : { href: `/sagas?status=${first.kind === "SAGA_STUCK" ? "STUCK" : "ACTIVE"}`, label: "stuck.open.sagas" };
