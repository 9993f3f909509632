import type { graphql } from "../api/graphql.ts";

type Values<Name extends "DeadLetterStatus" | "HealthStatus" | "OrderStatus" | "SagaStatus" | "SagaStepStatus"> =
  ReturnType<typeof graphql.scalar<Name>>;

/** What the API's statuses and error codes are called in Japanese. In English they are words themselves. */
export const ja = {
  PENDING: "未処理",
  WAITING: "待機中",
  STARTED: "進行中",
  RUNNING: "実行中",
  DONE: "完了",
  ACTIVE: "未終了",
  COMPLETED: "完了",
  COMPENSATING: "補償中",
  COMPENSATED: "補償済み",
  STUCK: "停滞",
  FAILED: "失敗",
  UNDOING: "取り消し中",
  UNDONE: "取り消し済み",
  GIVEN_UP: "断念",
  INVENTORY_RESERVED: "在庫引き当て済み",
  PAYMENT_PROCESSED: "支払い済み",
  SHIPPED: "出荷済み",
  CONFIRMED: "確定",
  CANCELLED: "取り消し",
  RETRIED: "再試行済み",
  DISCARDED: "破棄済み",
  HEALTHY: "正常",
  DEGRADED: "要注意",
  UNHEALTHY: "異常",
  OK: "正常",
  FAILING: "失敗中",
  LATE: "遅延",
  LAGGING: "遅れ",
  STOPPED: "停止中",
  AHEAD: "イベントより先",
  BUILDING: "作成中",
  KEPT: "保持中",
  DROPPED: "削除中",
  UNKNOWN: "不明",
  success: "成功",
  INVALID_INPUT: "入力エラー",
  NOT_FOUND: "対象なし",
  FORBIDDEN: "権限なし",
  UNAUTHENTICATED: "未サインイン",
  BUSINESS_RULE_VIOLATION: "業務ルール違反",
  CONFLICT: "競合",
  SERVICE_UNAVAILABLE: "利用不可",
  TIMEOUT: "時間切れ",
  INTERNAL_ERROR: "内部エラー",
} satisfies Record<
  Values<"DeadLetterStatus" | "HealthStatus" | "OrderStatus" | "SagaStatus" | "SagaStepStatus">,
  string
> &
  Record<string, string>;
