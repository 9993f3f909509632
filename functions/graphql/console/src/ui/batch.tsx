import type { TadaDocumentNode } from "gql.tada";
import { useEffect, useRef, useState } from "react";

import { ask } from "../api/client.ts";
import { failureOf } from "../api/failure.ts";
import { useT } from "../i18n/index.tsx";
import { ActButton } from "./act.tsx";
import { type Batch, type Options, outcomeOf, type Page, pages } from "./each.ts";
import { numberOf } from "./format.ts";

/** Return a function that returns, at each call, the ids of the next page of what a filter matches. */
export const idsOf = <Data, Filter>(
  document: TadaDocumentNode<Data, { after?: string | null; filter?: Filter }>,
  filter: Filter,
  of: (data: Data) => Page | null | undefined,
) =>
  pages(async (after) => {
    const { data, error } = await ask(document, { after, filter });
    if (error) return { failure: failureOf(error) };
    const found = data && of(data);
    return found ? { data: found } : { failure: { code: "UNKNOWN", message: "no answer" } };
  });

type Props = {
  title: string;
  /** How many there are; unknown while their list is not there. */
  number: number | null | undefined;
  /** What will happen to so many. */
  text: (number: number) => string;
  /** Why it is not possible now. */
  refused?: string;
  reason: "required" | "optional";
  kind?: "danger";
  run: (reason: string, options: Options) => Promise<Batch>;
  /** Called at the end, however it went: some of them may be done. */
  ended: () => void;
  /** Called when all of them are done. */
  done?: () => void;
};

/** A button by which an admin does the same to many. It shows how far it is, and stops on demand and when the page is left. */
export const BatchButton = ({ title, number, text, refused, reason, kind, run, ended, done }: Props) => {
  const t = useT();
  const [progress, setProgress] = useState<string>();
  const [said, setSaid] = useState<string>();
  const running = useRef<AbortController>(undefined);
  const left = useRef(false);
  const stop = () => running.current?.abort();
  useEffect(() => {
    left.current = false;
    return () => {
      left.current = true;
      running.current?.abort();
    };
  }, []);

  const of = number ?? 0;
  const impossible = number === null || number === undefined ? t("batch.unknown") : number === 0 ? t("batch.none") : undefined;
  const act = async (why: string) => {
    running.current = new AbortController();
    const seen = (n: number, wait?: number) => {
      const values = { n: numberOf(n, t.language), of: numberOf(of, t.language) };
      setProgress(wait === undefined ? t("progress", values) : t("progress.waits", { ...values, seconds: wait }));
    };
    const batch = await run(why, { signal: running.current.signal, progress: seen });
    setProgress(undefined);
    setSaid(t(batch.stopped ? "batch.stopped" : "batch.done", { n: numberOf(batch.number, t.language) }));
    const outcome = outcomeOf(batch, {
      failed: (values) => t("batch.failed", values),
      cut: (values) => t("batch.cut", values),
    });
    if (!left.current) ended();
    if (!left.current && !batch.stopped && "data" in outcome) done?.();
    return outcome;
  };
  return (
    <ActButton
      permission="admin"
      kind={kind}
      refused={refused ?? impossible}
      run={act}
      said={said}
      stop={stop}
      confirm={{ title, text: <span role="status">{progress ?? text(of)}</span>, reason }}
    >
      {title}
    </ActButton>
  );
};
