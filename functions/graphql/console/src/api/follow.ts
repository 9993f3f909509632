import { createClient, NetworkError, type RequestParams } from "graphql-sse";

import { codeOfStatus, isRefusal } from "./failure.ts";

export type LiveResult = {
  data?: Record<string, unknown> | null;
  errors?: readonly { message: string; extensions?: Record<string, unknown> }[];
  extensions?: { lastEventId?: string };
};

/**
 * Where a subscription resumes: behind the result with this id. `heardAt`: when the server last sent anything on it; it
 * sends heartbeats. `follow` updates both: pass the same object again to go on where the last subscription stopped.
 */
export type ResumePoint = { id?: string; heardAt?: number };

type Sink = {
  next: (result: LiveResult) => void;
  error: (error: unknown) => void;
  /** Called when the server has ended the subscription for good. */
  complete: () => void;
  /** Called when the connection is lost. */
  lost?: () => void;
  /** Called at each connection. `resumed`: false when what happened before it is not sent. */
  begun?: (resumed: boolean) => void;
  /** Called with every response of the server, before its first result. */
  answered?: (response: Response, sent: Headers) => void;
};

const RETRY_MS = 1000;
/** After a longer silence a subscription begins at the present, instead of replaying all that was missed. */
const RESUMES_MS = 120_000;
/** A stream that completes sooner without a new result has ended; the server cuts off longer ones to limit them. */
const ENDED_MS = 5_000;

/** A subscription that the server has refused; trying again would not help. */
export class Refused extends Error {
  readonly code: string;

  constructor(message: string, code: string) {
    super(message);
    this.code = code;
  }
}

const codeIn = (result: LiveResult | undefined): string | undefined => {
  const error = result?.errors?.[0];
  if (!error) return undefined;
  const code = error.extensions?.["code"];
  return typeof code === "string" ? code : "";
};

const refusalOf = async (response: Response): Promise<Refused> => {
  try {
    const body = (await response.clone().json()) as LiveResult;
    return new Refused(body.errors?.[0]?.message ?? response.statusText, codeIn(body) ?? "");
  } catch {
    return new Refused(`HTTP ${response.status}`, codeOfStatus(response.status) ?? "");
  }
};

/** Return the response, and call `hear` with every part of it that arrives. */
const heard = (response: Response, hear: () => void): Response => {
  const hearing = new TransformStream<Uint8Array, Uint8Array>({
    transform: (chunk, controller) => {
      hear();
      controller.enqueue(chunk);
    },
  });
  return new Response(response.body?.pipeThrough(hearing), response);
};

/** Return the id to resume behind, unless too much may have happened since. */
const idToResume = (point: ResumePoint): string | undefined => {
  if (point.heardAt !== undefined && Date.now() - point.heardAt > RESUMES_MS) delete point.id;
  return point.id;
};

/**
 * Run a subscription until the returned function is called, the server refuses it, or it has nothing more to send.
 * After a lost connection, a failure, or the end of a stream that has lasted as long as the server or its token allows,
 * it resumes behind the last result, so nothing is missed. `resume`: where it begins; null if it should never resume.
 */
export const follow = (
  request: RequestParams,
  headers: () => Promise<Record<string, string>>,
  sink: Sink,
  resume: ResumePoint | null = {},
): (() => void) => {
  const point = resume ?? {};
  let asked: string | undefined;
  let refusal: Refused | undefined;
  let begun = false;
  let begunAt = 0;
  let stopped = false;
  let stop: () => void = () => undefined;

  const client = createClient({
    url: "/graphql",
    headers: async () => {
      asked = resume ? idToResume(point) : undefined;
      try {
        return { ...(await headers()), ...(asked && { "Last-Event-ID": asked }) };
      } catch (reason) {
        // Without a network there may be no new token: only a NetworkError is retried.
        throw new NetworkError(String(reason));
      }
    },
    fetchFn: async (input: RequestInfo, init?: RequestInit) => {
      const response = await fetch(input, init);
      sink.answered?.(response, new Headers(init?.headers));
      refusal = response.ok ? undefined : await refusalOf(response);
      // A server that is down says nothing of its own, and a stream that had begun waits until the server is back.
      if (response.status >= 500 && (begun || refusal?.code === "")) refusal = undefined;
      if (!response.ok) return response;
      begun = true;
      begunAt = Date.now();
      if (!stopped) sink.begun?.(asked !== undefined);
      return heard(response, () => {
        point.heardAt = Date.now();
      });
    },
    retryAttempts: Infinity,
    retry: async () => {
      if (refusal) throw refusal;
      sink.lost?.();
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    },
  });

  const run = (): void => {
    let last: LiveResult | undefined;
    // The server ends a stream when the token of its caller expires; the next one has a new token.
    const hasExpired = () => codeIn(last) === "UNAUTHENTICATED" && Date.now() - begunAt >= ENDED_MS;
    const complete = (): void => {
      const failed = codeIn(last);
      const refused = failed !== undefined && isRefusal(failed) && !hasExpired();
      const brought = point.id !== asked;
      if (refused || (failed === undefined && !brought && Date.now() - begunAt < ENDED_MS)) {
        sink.complete();
        return;
      }
      if (failed !== undefined) sink.lost?.();
      const waiting = setTimeout(run, RETRY_MS);
      stop = () => clearTimeout(waiting);
    };
    stop = client.subscribe(request, {
      next: (result) => {
        if (stopped) return;
        last = result as LiveResult;
        // An id that the log does not have any more would be refused every time.
        if (codeIn(last) === "INVALID_INPUT") delete point.id;
        else if (resume) point.id = last.extensions?.lastEventId ?? point.id;
        if (!hasExpired()) sink.next(last);
      },
      error: (reason) => {
        if (!stopped) sink.error(reason);
      },
      complete: () => {
        if (!stopped) complete();
      },
    });
  };
  run();
  return () => {
    stopped = true;
    stop();
  };
};
