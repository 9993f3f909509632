type Category = { id: string; name: string; parentId: string | null };

/** Return the categories with each below its parent. One whose parent is not listed stays at the top. */
export const inTree = <One extends Category>(categories: readonly One[]): (One & { depth: number })[] => {
  const known = new Set(categories.map(({ id }) => id));
  const below = new Map<string | null, One[]>();
  for (const category of categories) {
    const parent = category.parentId !== null && known.has(category.parentId) ? category.parentId : null;
    below.set(parent, [...(below.get(parent) ?? []), category]);
  }
  const walk = (parent: string | null, depth: number): (One & { depth: number })[] =>
    (below.get(parent) ?? []).flatMap((category) => [{ ...category, depth }, ...walk(category.id, depth + 1)]);
  return walk(null, 0);
};

/** Return the ids of a category and of all below it: it cannot be moved into them. */
export const withinOf = (categories: readonly Category[], id: string): ReadonlySet<string> => {
  const within = new Set([id]);
  for (const one of within) {
    for (const { id, parentId } of categories) if (parentId === one) within.add(id);
  }
  return within;
};
