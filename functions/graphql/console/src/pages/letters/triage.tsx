import { useState } from "react";
import { CombinedError } from "urql";

import { client } from "../../api/client.ts";
import { failureOf } from "../../api/failure.ts";
import { useT } from "../../i18n/index.tsx";
import { ActButton, type Outcome, send } from "../../ui/act.tsx";
import { type Act, all, each, outcomeOf, type Refusal } from "../../ui/each.ts";
import { DISCARD, IDS, type LetterFilter, RETRY } from "./query.ts";

type Props = {
  selected: ReadonlySet<string>;
  filter: LetterFilter;
  total?: number;
  done: () => void;
};

/** Retry or discard the selected letters, or all pending ones of the filter. */
export const Triage = ({ selected, filter, total, done }: Props) => {
  const t = useT();
  const [progress, setProgress] = useState<string>();

  const shown = (of: number) => (n: number) => setProgress(t("progress", { n, of }));
  const ended = (number: number, refused: readonly Refusal[]): Outcome<unknown> => {
    setProgress(undefined);
    if (refused.length > 0) done();
    return outcomeOf(number, refused, (values) => t("batch.failed", values));
  };
  const ofSelected = async (act: Act) => {
    const ids = [...selected];
    return ended(ids.length, await each(ids, act, shown(ids.length)));
  };
  const ofFilter = async (act: Act): Promise<Outcome<unknown>> => {
    let after: string | null = null;
    const next = async (): Promise<string[]> => {
      const asked = { after, filter: { ...filter, status: "PENDING" as const } };
      const { data, error } = await client.query(IDS, asked).toPromise();
      if (error) throw error;
      const found = data?.deadLettersConnection;
      after = found?.pageInfo.endCursor ?? after;
      return found?.edges.map(({ node }) => node.id) ?? [];
    };
    try {
      const { number, refused } = await all(next, act, shown(total ?? 0));
      return ended(number, refused);
    } catch (error) {
      if (error instanceof CombinedError) return { failure: failureOf(error) };
      throw error;
    }
  };
  const retry =
    (reason: string): Act =>
    (id) =>
      send(RETRY, { id, reason: reason || null });
  const discard =
    (reason: string): Act =>
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
            run={(reason) => ofSelected(retry(reason))}
            done={done}
            confirm={{
              title: t("letters.retrySelected"),
              text: what("letters.retry.what", selected.size),
              reason: "optional",
            }}
          >
            {t("letters.retrySelected")}
          </ActButton>
          <ActButton
            permission="admin"
            kind="danger"
            run={(reason) => ofSelected(discard(reason))}
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
            run={(reason) => ofFilter(retry(reason))}
            done={done}
            confirm={{ title: t("letters.retryAll"), text: what("letters.retry.what", total), reason: "optional" }}
          >
            {t("letters.retryAll")}
          </ActButton>
          <ActButton
            permission="admin"
            kind="danger"
            run={(reason) => ofFilter(discard(reason))}
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
