import type { TadaDocumentNode } from "gql.tada";
import { type OperationDefinitionNode, print } from "graphql";
import { useEffect, useRef, useState } from "react";

import { useSession } from "../session/use-session.ts";
import { isRefusal } from "./failure.ts";
import { liveHeaders, seeWhoItIs } from "./client.ts";
import { follow, type LiveResult, Refused } from "./follow.ts";

/** `message`, `code`: why the server has refused or ended the stream. */
export type Live = { state: "connecting" | "live" | "lost" | "ended" | "paused"; message?: string; code?: string };

type Following = { again: () => void };

/**
 * Follow a subscription while the page is visible. A hidden page disconnects, because browsers allow few connections;
 * it resumes behind the last result, so `onData` gets every one.
 */
export const useLive = <Data, Variables extends Record<string, unknown>>(
  document: TadaDocumentNode<Data, Variables>,
  variables: Variables,
  onData: (data: Data) => void,
  pause = false,
): Live & Following => {
  const { user } = useSession();
  const [live, setLive] = useState<Live>({ state: pause ? "paused" : "connecting" });
  const [round, setRound] = useState(0);
  const receive = useRef(onData);
  receive.current = onData;
  const last = useRef<{ key: string; id?: string }>({ key: "" });
  const key = JSON.stringify([print(document), variables]);

  useEffect(() => {
    if (pause) {
      setLive({ state: "paused" });
      return;
    }
    if (last.current.key !== key) last.current = { key };
    let stop: (() => void) | undefined;

    const next = (result: LiveResult) => {
      last.current = { key, id: result.extensions?.lastEventId ?? last.current.id };
      const failed = result.errors?.[0];
      if (failed) {
        const code = failed.extensions?.["code"];
        const refused = typeof code === "string" && isRefusal(code) ? code : undefined;
        setLive({ state: refused ? "ended" : "lost", message: failed.message, code: refused });
      }
      else if (result.data) {
        setLive({ state: "live" });
        receive.current(result.data as Data);
      }
    };
    const error = (reason: unknown) => {
      const refused = reason instanceof Refused ? reason : undefined;
      setLive({ state: "ended", message: refused?.message ?? String(reason), code: refused?.code });
    };
    const complete = () => setLive((before) => (before.message !== undefined || before.state === "lost" ? before : { state: "ended" }));
    const connected = (now: boolean) => setLive({ state: now ? "live" : "lost" });
    const begin = () => {
      const operation = document.definitions[0] as OperationDefinitionNode;
      const request = { query: print(document), variables, operationName: operation.name?.value };
      stop ??= follow(request, liveHeaders, { next, error, complete, connected, answered: seeWhoItIs }, last.current.id);
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
  }, [key, pause, round, user]);

  return { ...live, again: () => setRound((number) => number + 1) };
};
