import { createClient, type RequestParams } from "graphql-sse";

import { codeOfStatus } from "./failure.ts";

export type LiveResult = {
  data?: Record<string, unknown> | null;
  errors?: readonly { message: string; extensions?: Record<string, unknown> }[];
  extensions?: { lastEventId?: string };
};

type Sink = {
  next: (result: LiveResult) => void;
  error: (error: unknown) => void;
  complete: () => void;
  /** Called with false when the connection is lost, and with true when it is back. */
  connected?: (now: boolean) => void;
  /** Called with every response of the server, before its first result. */
  answered?: (response: Response, sent: Headers) => void;
};

const RETRY_MS = 1000;

/** A subscription that the server has refused; trying again would not help. */
export class Refused extends Error {
  readonly code: string;

  constructor(message: string, code: string) {
    super(message);
    this.code = code;
  }
}

const refusalOf = async (response: Response): Promise<Refused> => {
  try {
    const body = (await response.clone().json()) as LiveResult;
    const error = body.errors?.[0];
    const code = error?.extensions?.["code"];
    return new Refused(error?.message ?? response.statusText, typeof code === "string" ? code : "");
  } catch {
    return new Refused(`HTTP ${response.status}`, codeOfStatus(response.status) ?? "");
  }
};

/**
 * Run a subscription until it is ended by the returned function. After a lost connection it resumes behind the last
 * result, so nothing is missed; a refusal by the server ends it with the error.
 */
export const follow = (
  request: RequestParams,
  headers: () => Promise<Record<string, string>>,
  sink: Sink,
  resumeAfter?: string,
): (() => void) => {
  let last = resumeAfter;
  let refusal: Refused | undefined;
  let begun = false;
  const client = createClient({
    url: "/graphql",
    headers: async () => ({ ...(await headers()), ...(last && { "Last-Event-ID": last }) }),
    fetchFn: async (input: RequestInfo, init?: RequestInit) => {
      const response = await fetch(input, init);
      sink.answered?.(response, new Headers(init?.headers));
      refusal = response.ok ? undefined : await refusalOf(response);
      // A server that is down says nothing of its own, and a stream that had begun waits until the server is back.
      if (response.status >= 500 && (begun || refusal?.code === "")) refusal = undefined;
      begun ||= response.ok;
      if (response.ok) sink.connected?.(true);
      return response;
    },
    retryAttempts: Infinity,
    retry: async () => {
      if (refusal) throw refusal;
      sink.connected?.(false);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    },
  });
  return client.subscribe(request, {
    next: (result) => {
      const shown = result as LiveResult;
      last = shown.extensions?.lastEventId ?? last;
      sink.next(shown);
    },
    error: sink.error,
    complete: sink.complete,
  });
};
