import { useAsk } from "../../api/use-ask.ts";
import { useT } from "../../i18n/index.tsx";
import { Answer } from "../../ui/answer.tsx";
import { Status } from "../../ui/badge.tsx";
import { Button } from "../../ui/button.tsx";
import { Time } from "../../ui/time.tsx";
import { useUrl } from "../../ui/use-url.ts";
import { type HistoryEntry, type OrderData, type SagaData, STOCK } from "./query.ts";

type Props = { order: OrderData; saga: SagaData | null; history: readonly HistoryEntry[]; moment: number | null };

const statusIn = (state: unknown): string | undefined => {
  const status = typeof state === "object" && state !== null && "status" in state ? state.status : undefined;
  return typeof status === "string" ? status : undefined;
};

/** A slider over the moments at which something happened; below it the order and the stock as they were then. */
export const Moment = ({ order, history, moment }: Props) => {
  const t = useT();
  const [, change] = useUrl();
  const moments = [...new Set(order.timeline.map(({ at }) => at))].sort();
  const last = moments.length - 1;
  const index = moment === null ? last : moments.findLastIndex((at) => Date.parse(at) <= moment);
  const go = (to: number) => change({ at: to >= last ? undefined : moments[Math.max(0, to)] });
  const at = moment === null ? undefined : new Date(moment).toISOString();
  const then = moment === null ? undefined : history.findLast(({ event }) => Date.parse(event.insertedAt) <= moment);
  return (
    <>
      <div className="slider">
        <label htmlFor="moment">{t("moment.label")}</label>
        <Button label={t("moment.back")} onClick={() => go(index - 1)}>
          <span aria-hidden="true">◀</span>
        </Button>
        <input
          id="moment"
          type="range"
          min={0}
          max={Math.max(0, last)}
          value={Math.max(0, index)}
          aria-valuetext={moments[index] ?? ""}
          onChange={(event) => go(Number(event.target.value))}
        />
        <Button label={t("moment.forward")} onClick={() => go(index + 1)}>
          <span aria-hidden="true">▶</span>
        </Button>
        {at ? <Time at={at} precise /> : <strong>{t("moment.now")}</strong>}
        {at && <Button onClick={() => change({ at: undefined })}>{t("moment.toNow")}</Button>}
      </div>
      {at && (
        <div className="columns">
          <dl className="facts">
            <dt>{t("orders.order")}</dt>
            <dd>{then ? <Status of={statusIn(then.after) ?? t("unknown")} /> : t("moment.notYet")}</dd>
          </dl>
          {order.items.slice(0, 5).map(({ productId, productName }) => (
            <StockThen key={productId} id={productId} name={productName} at={at} />
          ))}
        </div>
      )}
    </>
  );
};

const StockThen = ({ id, name, at }: { id: string; name: string; at: string }) => {
  const t = useT();
  const asked = useAsk(STOCK, { id, at });
  return (
    <div>
      <strong>{name}</strong>
      <Answer asked={asked}>
        {({ product }) =>
          product && (
            <dl className="facts">
              <dt>{t("product.stock")}</dt>
              <dd>{product.stockQuantity}</dd>
              <dt>{t("product.reserved")}</dt>
              <dd>{product.reservedQuantity}</dd>
            </dl>
          )
        }
      </Answer>
    </div>
  );
};
