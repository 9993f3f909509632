const SUBJECT = /^(category|product|order)-(.+)$/;

/** Return what a letter is about, by its stream; nothing when it has no state of its own. */
export const subjectOf = (stream: string | null): { kind: "category" | "product" | "order"; id: string } | undefined => {
  const [, kind, id] = SUBJECT.exec(stream ?? "") ?? [];
  return id && (kind === "category" || kind === "product" || kind === "order") ? { kind, id } : undefined;
};
