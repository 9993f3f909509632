import { useAsk } from "../../api/use-ask.ts";
import { useT } from "../../i18n/index.tsx";
import { Answer } from "../../ui/answer.tsx";
import { Status } from "../../ui/badge.tsx";
import { Button } from "../../ui/button.tsx";
import { Time } from "../../ui/time.tsx";
import { useSettled } from "../../ui/use-settled.ts";
import { useUrl } from "../../ui/use-url.ts";
import { exact, indexAt, momentsOf } from "./moments.ts";
import type { HistoryEntry } from "../logged-event.ts";
import { type OrderData, STOCK } from "./query.ts";

/** `moment`: of the slider, to the microsecond; null for the present. */
type Props = { order: OrderData; history: readonly HistoryEntry[]; moment: string | null };

/** The most products whose stock is asked for. */
const LINES = 5;
/** How long the slider rests before the stock is asked for. */
const REST_MS = 300;

const statusIn = (state: unknown): string | undefined => {
  const status = typeof state === "object" && state !== null && "status" in state ? state.status : undefined;
  return typeof status === "string" ? status : undefined;
};

/** A slider over the moments at which something happened; below it the order and the stock as they were then. */
export const Moment = ({ order, history, moment }: Props) => {
  const t = useT();
  const [, change] = useUrl();
  const moments = momentsOf(order.timeline);
  const last = moments.length - 1;
  const index = indexAt(moments, moment);
  const go = (to: number) => change({ at: to >= last ? undefined : moments[Math.max(0, to)] });
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
        {moment ? <Time at={moment} precise /> : <strong>{t("moment.now")}</strong>}
        {moment && <Button onClick={() => change({ at: undefined })}>{t("moment.toNow")}</Button>}
      </div>
      {moment && <Then order={order} history={history} moment={moment} />}
    </>
  );
};

const Then = ({ order, history, moment }: Props & { moment: string }) => {
  const t = useT();
  const rests = useSettled(moment, REST_MS) === moment;
  const then = history.findLast(({ event }) => (exact(event.insertedAt) ?? "") <= moment);
  const more = order.items.length - LINES;
  return (
    <div className="columns">
      <dl className="facts">
        <dt>{t("orders.order")}</dt>
        <dd>{then ? <Status of={statusIn(then.after) ?? t("unknown")} /> : t("moment.notYet")}</dd>
      </dl>
      {order.items.slice(0, LINES).map(({ productId, productName }) => (
        <StockThen key={productId} id={productId} name={productName} at={moment} pause={!rests} />
      ))}
      {more > 0 && <p className="note">{t.n("moment.more", more)}</p>}
    </div>
  );
};

type StockProps = { id: string; name: string; at: string; pause: boolean };

const StockThen = ({ id, name, at, pause }: StockProps) => {
  const t = useT();
  const asked = useAsk(STOCK, { id, at }, { pause });
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
