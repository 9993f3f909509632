/** An undefined or empty value takes the parameter away. */
export type Changes = Record<string, string | undefined>;

/** Return the search of an address with some parameters changed: all others stay. */
export const changed = (search: string | URLSearchParams, changes: Changes): string => {
  const next = new URLSearchParams(search);
  for (const [name, value] of Object.entries(changes)) {
    if (value) next.set(name, value);
    else next.delete(name);
  }
  return next.size > 0 ? `?${next.toString()}` : "";
};
