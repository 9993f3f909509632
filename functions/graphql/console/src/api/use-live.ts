import type { TadaDocumentNode } from "gql.tada";
import { type OperationDefinitionNode, print } from "graphql";
import { useEffect, useMemo, useRef, useState } from "react";

import { session } from "../session/session.ts";
import { useSession } from "../session/use-session.ts";
import { isRefusal } from "./failure.ts";
import { liveHeaders, seeWhoItIs } from "./client.ts";
import { follow, type LiveResult, Refused, type ResumePoint } from "./follow.ts";

/** `message`, `code`: why the server has refused or ended the stream. */
export type Live = { state: "connecting" | "live" | "lost" | "ended" | "paused"; message?: string; code?: string };

type Following = { again: () => void };

/**
 * `resume`: false for a page that needs no results from before the connection. `onBegin`: called when the stream begins
 * at the present, so results may be missing between those that the page has and those that come.
 */
type Options = { pause?: boolean; resume?: boolean; onBegin?: () => void };

const LIVE: Live = { state: "live" };

/**
 * Follow a subscription while the page is visible. A hidden page disconnects, because browsers allow few connections;
 * it resumes behind the last result, so `onData` gets every one, unless the page was hidden for minutes.
 */
export const useLive = <Data, Variables extends Record<string, unknown>>(
  document: TadaDocumentNode<Data, Variables>,
  variables: Variables,
  onData: (data: Data) => void,
  { pause = false, resume = true, onBegin }: Options = {},
): Live & Following => {
  const { user } = useSession();
  const [live, setLive] = useState<Live>({ state: pause ? "paused" : "connecting" });
  const [round, setRound] = useState(0);
  const query = useMemo(() => print(document), [document]);
  const key = `${query} ${JSON.stringify(variables)}`;
  const page = useRef({ key, onData, onBegin });
  page.current = { key, onData, onBegin };
  const last = useRef<{ key: string; point: ResumePoint }>({ key, point: {} });

  useEffect(() => {
    if (pause) {
      setLive({ state: "paused" });
      return;
    }
    if (last.current.key !== key) last.current = { key, point: {} };
    const { point } = last.current;
    let stop: (() => void) | undefined;

    const isWanted = () => page.current.key === key && session.now.user === user;
    const next = (result: LiveResult) => {
      const failed = result.errors?.[0];
      if (failed) {
        const code = failed.extensions?.["code"];
        const refused = typeof code === "string" && isRefusal(code) ? code : undefined;
        setLive({ state: refused ? "ended" : "lost", message: failed.message, code: refused });
      } else if (result.data && isWanted()) {
        setLive(LIVE);
        page.current.onData(result.data as Data);
      }
    };
    const error = (reason: unknown) => {
      const refused = reason instanceof Refused ? reason : undefined;
      setLive({ state: "ended", message: refused?.message ?? String(reason), code: refused?.code });
    };
    const complete = () => setLive((before) => (before.message === undefined ? { state: "ended" } : before));
    const lost = () => setLive((before) => (before.state === "lost" ? before : { state: "lost" }));
    const begun = (resumed: boolean) => {
      setLive(LIVE);
      if (!resumed && isWanted()) page.current.onBegin?.();
    };
    const begin = () => {
      const operation = document.definitions[0] as OperationDefinitionNode;
      const request = { query, variables, operationName: operation.name?.value };
      const sink = { next, error, complete, lost, begun, answered: seeWhoItIs };
      stop ??= follow(request, liveHeaders, sink, resume ? point : null);
    };
    const seen = () => {
      if (!globalThis.document.hidden) begin();
      else {
        stop?.();
        stop = undefined;
        setLive({ state: "paused" });
      }
    };
    seen();
    globalThis.document.addEventListener("visibilitychange", seen);
    return () => {
      globalThis.document.removeEventListener("visibilitychange", seen);
      stop?.();
    };
    // `key` stands for the document and the variables.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [key, pause, resume, round, user]);

  return { ...live, again: () => setRound((number) => number + 1) };
};
