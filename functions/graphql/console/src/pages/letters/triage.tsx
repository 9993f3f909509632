import { useState } from "react";

import { client } from "../../api/client.ts";
import { failureOf } from "../../api/failure.ts";
import { useT } from "../../i18n/index.tsx";
import { ActButton, type Outcome, send } from "../../ui/act.tsx";
import { DISCARD, IDS, type LetterFilter, RETRY } from "./query.ts";

type Props = {
  selected: ReadonlySet<string>;
  filter: LetterFilter;
  total?: number;
  done: () => void;
};

type Change = (id: string) => Promise<Outcome<unknown>>;

/** Retry or discard the selected letters, or all pending ones of the filter. */
export const Triage = ({ selected, filter, total, done }: Props) => {
  const t = useT();
  const [progress, setProgress] = useState<string>();

  const each = async (ids: readonly string[], act: Change): Promise<Outcome<unknown>> => {
    for (const [index, id] of ids.entries()) {
      setProgress(t("progress", { n: index + 1, of: ids.length }));
      const outcome = await act(id);
      if ("failure" in outcome) return outcome;
    }
    setProgress(undefined);
    return { data: ids.length };
  };
  const all = async (act: Change): Promise<Outcome<unknown>> => {
    for (;;) {
      const { data, error } = await client.query(IDS, { filter: { ...filter, status: "PENDING" } }).toPromise();
      if (error) return { failure: failureOf(error) };
      const ids = data?.deadLettersConnection?.edges.map(({ node }) => node.id) ?? [];
      if (ids.length === 0) return { data: 0 };
      const outcome = await each(ids, act);
      if ("failure" in outcome) return outcome;
    }
  };
  const retry: Change = (id) => send(RETRY, { id });
  const discard =
    (reason: string): Change =>
    (id) =>
      send(DISCARD, { id, reason });
  const canAll = filter.status === "PENDING" && total !== undefined && total > 0;
  const what = (key: "letters.retry.what" | "letters.discard.what", n: number) => (
    <>
      {t.n(key, n)} <strong role="status">{progress}</strong>
    </>
  );
  return (
    <div className="row">
      {selected.size > 0 && (
        <>
          <ActButton
            permission="admin"
            run={() => each([...selected], retry)}
            done={done}
            confirm={{ title: t("letters.retrySelected"), text: what("letters.retry.what", selected.size) }}
          >
            {t("letters.retrySelected")}
          </ActButton>
          <ActButton
            permission="admin"
            kind="danger"
            run={(reason) => each([...selected], discard(reason))}
            done={done}
            confirm={{
              title: t("letters.discardSelected"),
              text: what("letters.discard.what", selected.size),
              reason: "required",
            }}
          >
            {t("letters.discardSelected")}
          </ActButton>
        </>
      )}
      {canAll && (
        <>
          <ActButton
            permission="admin"
            run={() => all(retry)}
            done={done}
            confirm={{ title: t("letters.retryAll"), text: what("letters.retry.what", total) }}
          >
            {t("letters.retryAll")}
          </ActButton>
          <ActButton
            permission="admin"
            kind="danger"
            run={(reason) => all(discard(reason))}
            done={done}
            confirm={{ title: t("letters.discardAll"), text: what("letters.discard.what", total), reason: "required" }}
          >
            {t("letters.discardAll")}
          </ActButton>
        </>
      )}
    </div>
  );
};
