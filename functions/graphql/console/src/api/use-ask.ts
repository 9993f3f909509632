import type { TadaDocumentNode } from "gql.tada";
import { useCallback, useEffect, useRef, useState } from "react";
import type { AnyVariables } from "urql";

import { session } from "../session/session.ts";
import { useSession } from "../session/use-session.ts";
import { isAnswered } from "./answered.ts";
import { ask } from "./client.ts";
import { type Failure, failureOf } from "./failure.ts";
import { Turns } from "./turns.ts";

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
  const [turns] = useState(() => new Turns());
  const present = useRef({ document, variables, key });
  present.current = { document, variables, key };

  const again = useCallback(() => {
    const request = turns.begin();
    const { document, variables, key } = present.current;
    const { user } = session.now;
    setState((before) => (before.key === key ? { ...before, loading: true } : { key, loading: true }));
    void ask(document, variables).then((result) => {
      // After a sign-in, a sign-out or a change of the variables the effect below asks again.
      const isWanted = present.current.key === key && session.now.user === user;
      if (!turns.take(request) || !isWanted) return;
      const failure = result.error && failureOf(result.error);
      setState((before) => {
        const known = before.key === key ? { data: before.data, at: before.at } : {};
        const found = isAnswered(result.data, failure) ? { data: result.data, at: new Date() } : known;
        return { ...found, key, loading: turns.waiting, failure };
      });
    });
  }, [turns]);

  useEffect(() => {
    if (pause) return;
    again();
    if (!every) return;
    const timer = setInterval(() => {
      if (!globalThis.document.hidden && !turns.waiting) again();
    }, every);
    return () => clearInterval(timer);
  }, [again, every, key, pause, turns, user]);

  return state.key === key ? { ...state, again } : { loading: !pause, again };
};
