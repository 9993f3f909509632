import type { Failure } from "../../api/failure.ts";

/** What lists and queries show of an order: the same status, another one, nothing yet; or it could not be asked. */
export type Shown = "asking" | "same" | "behind" | "missing" | "failed";

/** What the server says of an order that was accepted and is not in the read model. */
const NOT_YET = /not visible yet/;

/** Compare an order's present status with that of the read model. */
export const shownIn = (status: string, read: string | undefined, failure: Failure | undefined): Shown => {
  if (failure) return failure.code === "NOT_FOUND" || NOT_YET.test(failure.message) ? "missing" : "failed";
  if (read === undefined) return "asking";
  return read === status ? "same" : "behind";
};
