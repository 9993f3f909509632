import type { Key } from "../i18n/catalogue.ts";

/** What dead letters have in common. */
export type Cause = { source: string; type: string | null; error: string | null };

/** An empty error is that of letters whose error is unknown. */
const partsOf = (cause?: Cause | null): Record<string, string> =>
  cause ? { ...(cause.type !== null && { type: cause.type }), error: cause.error ?? "" } : {};

/** Return the page on which a problem of this kind is put right. `cause`: of dead letters, if it is known. */
export const placeOf = (kind: string, subject: string, cause?: Cause | null): { href: string; label: Key } => {
  const order = /^order-(.+)$/.exec(subject)?.[1];
  switch (kind) {
    case "SAGA_STUCK":
    case "SAGA_OVERDUE":
    case "STEP_REPEATED":
      return order
        ? { href: `/orders/${order}`, label: "stuck.open.order" }
        : { href: "/sagas?status=ACTIVE", label: "stuck.open.sagas" };
    case "DEAD_LETTER":
      return {
        href: `/dead-letters?${String(new URLSearchParams({ status: "PENDING", source: subject, ...partsOf(cause) }))}`,
        label: "stuck.open.deadLetters",
      };
    case "PROJECTION_STOPPED":
      return { href: "/lab", label: "stuck.open.lab" };
    case "READ_MODEL":
    case "REBUILD":
      return { href: "/read-models", label: "stuck.open.readModels" };
    case "OUTBOX":
      return { href: "/messages", label: "stuck.open.messages" };
    default:
      return { href: "/topology", label: "stuck.open.topology" };
  }
};
