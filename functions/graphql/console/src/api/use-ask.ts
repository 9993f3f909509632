import type { TadaDocumentNode } from "gql.tada";
import { useCallback, useEffect, useRef, useState } from "react";
import type { AnyVariables } from "urql";

import { useSession } from "../session/use-session.ts";
import { isAnswered } from "./answered.ts";
import { client } from "./client.ts";
import { type Failure, failureOf } from "./failure.ts";

/**
 * What is known of an answer. `data` stays when a later request fails: then `failure` says why, and `at` from when the
 * data is. Without data, an answer is either on its way or has failed; it is never "nothing".
 */
export type Asked<Data> = {
  data?: Data;
  failure?: Failure;
  loading: boolean;
  at?: Date;
  again: () => void;
};

type State<Data> = { key: string; data?: Data; failure?: Failure; loading: boolean; at?: Date };

/** Run a query now, when its variables change, and `every` so many milliseconds while the page is visible. */
export const useAsk = <Data, Variables extends AnyVariables>(
  document: TadaDocumentNode<Data, Variables>,
  variables: Variables,
  options: { every?: number; pause?: boolean } = {},
): Asked<Data> => {
  const { every, pause = false } = options;
  const { user, signOuts } = useSession();
  // What was seen stays while somebody signs in, and is gone when they sign out.
  const key = `${signOuts} ${JSON.stringify(variables)}`;
  const [state, setState] = useState<State<Data>>({ key, loading: !pause });
  const latest = useRef(0);
  const asked = useRef({ document, variables });
  asked.current = { document, variables };

  const again = useCallback(() => {
    const number = ++latest.current;
    setState((before) => (before.key === key ? { ...before, loading: true } : { key, loading: true }));
    const { document, variables } = asked.current;
    void client
      .query(document, variables)
      .toPromise()
      .then((result) => {
        if (number !== latest.current) return;
        const failure = result.error && failureOf(result.error);
        setState((before) => {
          const known = before.key === key ? { data: before.data, at: before.at } : {};
          const found = isAnswered(result.data, failure) ? { data: result.data, at: new Date() } : known;
          return { ...found, key, loading: false, failure };
        });
      });
  }, [key]);

  useEffect(() => {
    if (pause) return;
    again();
    if (!every) return;
    const timer = setInterval(() => {
      if (!globalThis.document.hidden) again();
    }, every);
    return () => clearInterval(timer);
  }, [again, every, pause, user]);

  useEffect(
    () => () => {
      latest.current++; // an answer that comes after the page was left is of no interest
    },
    [],
  );

  return state.key === key ? { ...state, again } : { loading: !pause, again };
};
