/** What is selected, and the filter under which it was. */
export type Selection = { under: string; ids: ReadonlySet<string> };

/**
 * Return what is selected under a filter. Of a selection under another filter, only what is listed now: nothing is done to
 * a letter that nobody sees.
 */
export const selectedUnder = (
  { under, ids }: Selection,
  filter: string,
  listed: readonly string[],
): ReadonlySet<string> => (under === filter ? ids : new Set(listed.filter((id) => ids.has(id))));
