import { useT } from "../../i18n/index.tsx";
import { send } from "../../ui/act.tsx";
import { BatchButton, idsOf } from "../../ui/batch.tsx";
import { type Act, all, each, type Options } from "../../ui/each.ts";
import { DISCARD, IDS, type LetterFilter, RETRY } from "./query.ts";

type Props = {
  selected: ReadonlySet<string>;
  filter: LetterFilter;
  /** How many letters the filter matches; unknown while the list is not there. */
  total: number | null | undefined;
  again: () => void;
  /** Called when all of the selected are done. */
  done: () => void;
};

const retry =
  (reason: string): Act =>
  (id) =>
    send(RETRY, { id, reason: reason || null });

const discard =
  (reason: string): Act =>
  (id) =>
    send(DISCARD, { id, reason });

/** Retry or discard the selected letters, or all pending ones of the filter. */
export const Triage = ({ selected, filter, total, again, done }: Props) => {
  const t = useT();
  const ofSelected = (act: Act, options: Options) => each([...selected], act, options);
  const ofFilter = (act: Act, options: Options) =>
    all(idsOf(IDS, filter, ({ deadLettersConnection }) => deadLettersConnection), act, options);
  const noneSelected = selected.size > 0 ? undefined : t("letters.noneSelected");
  const notPending = filter.status === "PENDING" ? undefined : t("letters.choosePending");
  const retried = (n: number) => t.n("letters.retry.what", n);
  const discarded = (n: number) => t.n("letters.discard.what", n);
  return (
    <div className="row">
      <BatchButton
        title={t("letters.retrySelected")}
        number={selected.size}
        text={retried}
        refused={noneSelected}
        reason="optional"
        run={(reason, options) => ofSelected(retry(reason), options)}
        ended={again}
        done={done}
      />
      <BatchButton
        title={t("letters.discardSelected")}
        kind="danger"
        number={selected.size}
        text={discarded}
        refused={noneSelected}
        reason="required"
        run={(reason, options) => ofSelected(discard(reason), options)}
        ended={again}
        done={done}
      />
      <BatchButton
        title={t("letters.retryAll")}
        number={total}
        text={retried}
        refused={notPending}
        reason="optional"
        run={(reason, options) => ofFilter(retry(reason), options)}
        ended={again}
      />
      <BatchButton
        title={t("letters.discardAll")}
        kind="danger"
        number={total}
        text={discarded}
        refused={notPending}
        reason="required"
        run={(reason, options) => ofFilter(discard(reason), options)}
        ended={again}
      />
    </div>
  );
};
