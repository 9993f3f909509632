import { durationOf } from "../ui/format.ts";

/**
 * What a person types to begin or to change a rebuild, as the mutation's arguments. An empty limit is no limit; without
 * the question whether to switch, the answer that was given at the beginning stays.
 */
export const rebuildOf = (given: Record<string, string>) => ({
  documentsPerSecond: given.limit ? Number(given.limit) : null,
  switchWhenEqual: given.switch === undefined ? undefined : given.switch === "yes",
  reason: given.reason?.trim() || null,
});

/** Show how long a rebuild still takes; a dash when nothing is left, or it is not known. */
export const leftOf = (seconds: number | null, language: string): string =>
  seconds ? durationOf(Math.max(1_000, seconds * 1_000), language) : "–";

/** The rebuild's share of the streams, 0 to 1. */
export const shareOf = (done: number, streams: number): number => (streams > 0 ? Math.min(1, done / streams) : 0);

type Comparison = { ended: string | null; isEqual: boolean };
type Generations = { state: string | null; unread: boolean; comparison: Comparison | null };

/** Whether the switch is refused unless it is forced: the new generation differs, or was not compared. */
export const needsForce = ({ state, unread, comparison }: Generations): boolean =>
  state === "BUILDING" || (state === "KEPT" && unread && !(comparison?.ended && comparison.isEqual));
