import { useAsk } from "../api/use-ask.ts";
import { CATEGORIES, OFFERED } from "./catalogue.ts";
import type { Option } from "./options.ts";

/** The categories that can be chosen, by name. `all`: what was found, one more than is offered when there are more. */
export const useCategories = () => {
  const asked = useAsk(CATEGORIES, { limit: OFFERED + 1 });
  const all = asked.data?.categories;
  const options = all?.slice(0, OFFERED).map(({ id, name }): Option => ({ value: id, label: name })) ?? [];
  return { all, options, again: asked.again };
};
