import type { Failure } from "../api/failure.ts";
import type { Outcome } from "./act.tsx";

export type Act = (id: string) => Promise<Outcome<unknown>>;
export type Refusal = { id: string; failure: Failure };

/** What has become of a batch. `number`: how many were tried. `cut`: why the rest could not be listed. */
export type Batch = { number: number; refused: Refusal[]; stopped: boolean; cut?: Failure };

export type Options = {
  /** Called with the number of the present one, and with the seconds to wait when the server asks for that. */
  progress: (number: number, wait?: number) => void;
  /** Stops the batch before the next one. */
  signal: AbortSignal;
  pause?: (seconds: number, signal: AbortSignal) => Promise<void>;
};

/** How often one is repeated while the server asks to wait: longer than a rate limit lasts. */
const REPEATS = 5;

/** Wait for some seconds, or until the signal. */
const pauseFor = (seconds: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, seconds * 1_000);
    signal.addEventListener("abort", end);
  });

/** Ask, and ask again after the time that the server asks to wait. */
const patiently = async <Data>(
  ask: () => Promise<Outcome<Data>>,
  { signal, pause = pauseFor }: Options,
  waits: (seconds: number) => void,
): Promise<Outcome<Data>> => {
  const stopped = () => signal.aborted;
  for (let repeats = 0; ; repeats++) {
    const outcome = await ask();
    const seconds = "failure" in outcome ? outcome.failure.retryAfter : undefined;
    if (seconds === undefined || repeats === REPEATS || stopped()) return outcome;
    waits(seconds);
    await pause(seconds, signal);
    if (stopped()) return outcome;
  }
};

/** Do the same to each, also after one has failed. */
export const each = async (ids: readonly string[], act: Act, options: Options): Promise<Batch> => {
  const { progress, signal } = options;
  const refused: Refusal[] = [];
  for (const [index, id] of ids.entries()) {
    if (signal.aborted) return { number: index, refused, stopped: true };
    progress(index + 1);
    const outcome = await patiently(() => act(id), options, (seconds) => progress(index + 1, seconds));
    if ("failure" in outcome) refused.push({ id, failure: outcome.failure });
  }
  return { number: ids.length, refused, stopped: false };
};

/**
 * Do the same to all that `next` returns, until it returns none that is new: those that failed stay, and would be
 * returned again and again.
 */
export const all = async (
  next: () => Promise<Outcome<readonly string[]>>,
  act: Act,
  options: Options,
): Promise<Batch> => {
  const tried = new Set<string>();
  const refused: Refusal[] = [];
  for (;;) {
    const before = tried.size;
    const found = await patiently(next, options, (seconds) => options.progress(before, seconds));
    if ("failure" in found) return { number: before, refused, stopped: options.signal.aborted, cut: found.failure };
    if (options.signal.aborted) return { number: before, refused, stopped: true };
    const ids = found.data.filter((id) => !tried.has(id));
    if (ids.length === 0) return { number: before, refused, stopped: false };
    const progress = (number: number, wait?: number) => options.progress(before + number, wait);
    const part = await each(ids, act, { ...options, progress });
    refused.push(...part.refused);
    if (part.stopped) return { number: before + part.number, refused, stopped: true };
    for (const id of ids) tried.add(id);
  }
};

export type Page = { edges: readonly { node: { id: string } }[]; pageInfo: { endCursor: string | null } };

/** Return a function that returns the ids of the next page at each call. */
export const pages = (
  ask: (after: string | null) => Promise<Outcome<Page>>,
): (() => Promise<Outcome<readonly string[]>>) => {
  let after: string | null = null;
  return async () => {
    const found = await ask(after);
    if ("failure" in found) return found;
    after = found.data.pageInfo.endCursor ?? after;
    return { data: found.data.edges.map(({ node }) => node.id) };
  };
};

const NAMED = 5;

type Say = {
  failed: (values: { n: number; of: number; which: string }) => string;
  cut: (values: { n: number; why: string }) => string;
};

/** Say which failed, and why: the first of them, and how many there are. Say it when the rest could not be listed. */
export const outcomeOf = ({ number, refused, cut }: Batch, say: Say): Outcome<number> => {
  const named = refused.slice(0, NAMED).map(({ id, failure }) => `${id}: ${failure.message}`);
  const which = [...named, ...(refused.length > NAMED ? ["…"] : [])].join("; ");
  const messages = [
    ...(cut ? [say.cut({ n: number, why: cut.message })] : []),
    ...(refused.length > 0 ? [say.failed({ n: refused.length, of: number, which })] : []),
  ];
  const code = cut?.code ?? refused[0]?.failure.code;
  return code === undefined ? { data: number } : { failure: { code, message: messages.join(" ") } };
};
