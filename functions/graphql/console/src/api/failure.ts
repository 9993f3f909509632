import type { CombinedError } from "urql";

/** Why an answer is missing or incomplete. `retryAfter`: seconds, when the server asks to wait. */
export type Failure = { message: string; code: string; retryAfter?: number };

const REFUSALS = new Set([
  "NOT_FOUND",
  "INVALID_INPUT",
  "UNAUTHENTICATED",
  "FORBIDDEN",
  "CONFLICT",
  "BUSINESS_RULE_VIOLATION",
]);

/** Return whether the server has answered, by refusing what was asked. */
export const isRefusal = (code: string): boolean => REFUSALS.has(code);

export const failureOf = (error: CombinedError): Failure => {
  const first = error.graphQLErrors[0];
  if (!first) {
    return { message: error.networkError?.message ?? error.message, code: "NETWORK" };
  }
  const { code, retryAfter } = first.extensions;
  const failure: Failure = { message: first.message, code: typeof code === "string" ? code : "UNKNOWN" };
  return typeof retryAfter === "number" ? { ...failure, retryAfter } : failure;
};
