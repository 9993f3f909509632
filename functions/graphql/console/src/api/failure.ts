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

const CODES: Record<number, string> = { 401: "UNAUTHENTICATED", 403: "FORBIDDEN" };

/** Return the code of a refusal without a body of GraphQL's: a proxy in front of the shop may ask for sign-in, too. */
export const codeOfStatus = (status: number | undefined): string | undefined => CODES[status ?? 0];

type Located = { locations?: readonly { line: number; column: number }[] | undefined };

/** Return where the error's field is in the query. The server sends errors in the order in which they happened. */
const placeOf = ({ locations }: Located): number =>
  (locations?.[0]?.line ?? 0) * 10_000 + (locations?.[0]?.column ?? 0);

/** Return why an answer is missing: of several errors, that of the field which the query asks for first. */
export const failureOf = (error: CombinedError): Failure => {
  const first = [...error.graphQLErrors].sort((a, b) => placeOf(a) - placeOf(b))[0];
  if (!first) {
    const status = (error.response as Response | undefined)?.status;
    return { message: error.networkError?.message ?? error.message, code: codeOfStatus(status) ?? "NETWORK" };
  }
  const { code, retryAfter } = first.extensions;
  const failure: Failure = { message: first.message, code: typeof code === "string" ? code : "UNKNOWN" };
  return typeof retryAfter === "number" ? { ...failure, retryAfter } : failure;
};
