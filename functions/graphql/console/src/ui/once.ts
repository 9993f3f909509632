import { isRefusal } from "../api/failure.ts";
import type { Outcome } from "./act.tsx";

/** After this time an equal mutation is meant anew: the person has seen by then what became of the first. */
const KEPT_MS = 600_000;

type Open = { key: string; until: number };

/** Where the open mutations are kept: the tab's session storage, so that they outlive a reload. */
export type Kept = Pick<Storage, "getItem" | "setItem" | "removeItem">;

/**
 * Return a function that runs `ask` under an idempotency key. Equal mutations get the same key as long as the outcome of
 * the first is unknown, because its answer was lost: so it happens once. An answer, or a refusal, makes the next one new.
 */
export const keeper = (newKey: () => string, kept: Kept, now = Date.now) => {
  return async <Data>(mutation: string, ask: (key: string) => Promise<Outcome<Data>>): Promise<Outcome<Data>> => {
    const place = `once: ${mutation}`;
    const known = JSON.parse(kept.getItem(place) ?? "null") as Open | null;
    const one = known && now() < known.until ? known : { key: newKey(), until: now() + KEPT_MS };
    kept.setItem(place, JSON.stringify(one));
    const outcome = await ask(one.key);
    if ("failure" in outcome && !isRefusal(outcome.failure.code)) kept.setItem(place, JSON.stringify(one));
    else kept.removeItem(place);
    return outcome;
  };
};
