/**
 * Return the fields whose values are no longer those that the form opened with; an emptied one is null. Only these are
 * sent: the others may have been changed by somebody else meanwhile.
 */
export const changedFields = <Name extends string>(
  opened: Readonly<Record<Name, string>>,
  given: Readonly<Record<string, string>>,
): Partial<Record<Name, string | null>> => {
  const names = Object.keys(opened) as Name[];
  // A form has one kind of line break, whatever it was given.
  const changed = names.filter((name) => given[name] !== opened[name].replaceAll("\r\n", "\n"));
  return Object.fromEntries(changed.map((name) => [name, given[name] || null])) as Partial<Record<Name, string | null>>;
};
