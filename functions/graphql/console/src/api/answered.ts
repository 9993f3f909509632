import type { Failure } from "./failure.ts";

/** Return whether there is an answer. Where every field has failed there is none: null is then not "nothing". */
export const isAnswered = <Data>(data: Data | null | undefined, failure: Failure | undefined): data is Data =>
  data !== null && data !== undefined && (!failure || Object.values(data).some((value) => value !== null));
