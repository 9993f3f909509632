import type { ReactNode } from "react";

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

/** A status. Its colour is never the only sign: the word is always there. */
export const Badge = ({ tone, children }: { tone: Tone; children: ReactNode }) => (
  <span className={`badge ${tone}`}>{children}</span>
);

export const Status = ({ of }: { of: string }) => <Badge tone={toneOf(of)}>{of}</Badge>;
