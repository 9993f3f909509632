import type { Outcome } from "./act.tsx";
import type { Failure } from "../api/failure.ts";

export type Act = (id: string) => Promise<Outcome<unknown>>;
export type Refusal = { id: string; failure: Failure };

/** Do the same to each, also after one has failed. Return those that failed. */
export const each = async (ids: readonly string[], act: Act, done: (number: number) => void): Promise<Refusal[]> => {
  const refused: Refusal[] = [];
  for (const [index, id] of ids.entries()) {
    done(index + 1);
    const outcome = await act(id);
    if ("failure" in outcome) refused.push({ id, failure: outcome.failure });
  }
  return refused;
};

/**
 * Do the same to all that `next` returns, until it returns none that is new: those that failed stay, and would be
 * returned again and again. Return those that failed.
 */
export const all = async (
  next: () => Promise<readonly string[]>,
  act: Act,
  done: (number: number) => void,
): Promise<{ number: number; refused: Refusal[] }> => {
  const tried = new Set<string>();
  const refused: Refusal[] = [];
  for (;;) {
    const ids = (await next()).filter((id) => !tried.has(id));
    if (ids.length === 0) return { number: tried.size, refused };
    const before = tried.size;
    refused.push(...(await each(ids, act, (number) => done(before + number))));
    for (const id of ids) tried.add(id);
  }
};

const NAMED = 5;

/** Say which failed, and why: the first of them, and how many there are. */
export const outcomeOf = (
  number: number,
  refused: readonly Refusal[],
  say: (values: { n: number; of: number; which: string }) => string,
): Outcome<number> => {
  const [first] = refused;
  if (!first) return { data: number };
  const named = refused.slice(0, NAMED).map(({ id, failure }) => `${id}: ${failure.message}`);
  const which = [...named, ...(refused.length > NAMED ? ["…"] : [])].join("; ");
  return { failure: { code: first.failure.code, message: say({ n: refused.length, of: number, which }) } };
};
