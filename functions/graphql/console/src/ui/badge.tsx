import type { ReactNode } from "react";

import { useT } from "../i18n/index.tsx";

export type Tone = "good" | "warn" | "bad" | "info" | "plain";

const TONES: Record<string, Tone> = {
  HEALTHY: "good",
  CONFIRMED: "good",
  COMPLETED: "good",
  RUNNING: "good",
  success: "good",
  DONE: "good",
  DEGRADED: "warn",
  LAGGING: "warn",
  DROPPED: "warn",
  COMPENSATING: "warn",
  BUILDING: "warn",
  CANCELLED: "warn",
  AHEAD: "bad",
  UNHEALTHY: "bad",
  FAILED: "bad",
  FAILING: "bad",
  STUCK: "bad",
  STOPPED: "bad",
  PENDING: "info",
  WAITING: "info",
  STARTED: "info",
  INVENTORY_RESERVED: "info",
  PAYMENT_PROCESSED: "info",
  SHIPPED: "info",
};

export const toneOf = (status: string): Tone => TONES[status] ?? "plain";

/** A word with a colour, which is never the only sign. `code`: what the API calls it. */
export const Badge = ({ tone, code, children }: { tone: Tone; code?: string; children: ReactNode }) => (
  <span className={`badge ${tone}`} title={code}>
    {children}
  </span>
);

/** A status, in the viewer's language, with the API's word on hover. */
export const Status = ({ of, tone = toneOf(of) }: { of: string; tone?: Tone }) => {
  const t = useT();
  return (
    <Badge tone={tone} code={of}>
      {t.status(of)}
    </Badge>
  );
};
