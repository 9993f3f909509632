export type Option = { value: string; label: string };

/** Return the options with the present one, also when it is not among them: a form must not change what nobody chose. */
export const withPresent = (options: readonly Option[], present: Option | undefined): readonly Option[] =>
  !present || options.some(({ value }) => value === present.value) ? options : [present, ...options];
