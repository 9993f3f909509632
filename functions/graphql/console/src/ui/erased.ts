/** What the server shows in place of a user's id to all but that user and admins. */
export const MASKED = "***";
/** What the server shows in place of every personal value of an erased person. */
export const ERASED = "erased";

/** The fields of orders that hold a person's id or words: those of shared/domain/personal.py, in both spellings. */
const PERSONAL = new Set(
  ["user", "payment", "shipping", "notification"]
    .flatMap((name) => [`${name}_id`, `${name}Id`])
    .concat(["payment_method", "paymentMethod", "shipping_method", "shippingMethod", "reason"]),
);

/** Return a field's value with `word` for what has been erased of a person in it, at every depth. */
export const withWord = (value: unknown, word: string, field = ""): unknown => {
  if (value === ERASED) return PERSONAL.has(field) ? word : value;
  if (Array.isArray(value)) return value.map((one) => withWord(one, word));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, withWord(inner, word, name)]));
};
