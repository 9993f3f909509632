import type { CombinedError } from "urql";

/** Why an answer is missing or incomplete. `retryAfter`: seconds, when the server asks to wait. */
export type Failure = { message: string; code: string; retryAfter?: number };

export const failureOf = (error: CombinedError): Failure => {
  const first = error.graphQLErrors[0];
  if (!first) {
    return { message: error.networkError?.message ?? error.message, code: "NETWORK" };
  }
  const { code, retryAfter } = first.extensions;
  const failure: Failure = { message: first.message, code: typeof code === "string" ? code : "UNKNOWN" };
  return typeof retryAfter === "number" ? { ...failure, retryAfter } : failure;
};
