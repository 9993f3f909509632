import type { TadaDocumentNode } from "gql.tada";
import { print } from "graphql";
import { type ReactNode, useState } from "react";
import type { AnyVariables } from "urql";

import { client } from "../api/client.ts";
import { type Failure, failureOf } from "../api/failure.ts";
import { useT } from "../i18n/index.tsx";
import { type Permission, session } from "../session/session.ts";
import { signInFor, useViewer } from "../session/viewer.tsx";
import { Failed } from "./answer.tsx";
import { Button } from "./button.tsx";
import { Dialog } from "./dialog.tsx";
import { keeper } from "./once.ts";

export type Outcome<Data> = { data: Data } | { failure: Failure };

const once = keeper(() => crypto.randomUUID(), sessionStorage);

/** Send a mutation. When it is sent again after a lost answer, it has the same key, and does not happen twice. */
export const send = async <Data, Variables extends AnyVariables>(
  document: TadaDocumentNode<Data, Variables>,
  variables: Variables,
): Promise<Outcome<Data>> =>
  await once<Data>(`${print(document)} ${JSON.stringify(variables)}`, async (key) => {
    const headers = { "Idempotency-Key": key };
    const result = await client.mutation(document, variables, { fetchOptions: { headers } }).toPromise();
    if (result.error) return { failure: failureOf(result.error) };
    return result.data ? { data: result.data } : { failure: { code: "UNKNOWN", message: "no answer" } };
  });

/** Run it, and once more after a sign-in when the server asks for one. */
export const signedIn = async (run: () => Promise<Outcome<unknown>>): Promise<Outcome<unknown>> => {
  const outcome = await run();
  const asks = "failure" in outcome && outcome.failure.code === "UNAUTHENTICATED";
  return asks && (await session.ask()) ? await run() : outcome;
};

type Act = {
  /** What it needs, and therefore why it is disabled for the present role. */
  permission: Permission;
  /** Why it is not possible now. */
  refused?: string;
  run: (reason: string) => Promise<Outcome<unknown>>;
  /** Called after success. */
  done?: () => void;
  /** What is said after success. */
  said?: string;
  children: ReactNode;
  kind?: "plain" | "main" | "danger";
  /** What will happen; asked before a destructive action. */
  confirm?: { title: string; text: ReactNode; reason?: "required" | "optional" };
  /** Ends what takes long before its end. */
  stop?: () => void;
};

/** A button that changes something: it asks for sign-in and for confirmation, and shows what became of it. */
export const ActButton = ({
  permission,
  refused: impossible,
  run,
  done,
  said,
  children,
  kind,
  confirm,
  stop,
}: Act) => {
  const t = useT();
  const viewer = useViewer();
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  const [reason, setReason] = useState("");
  const [outcome, setOutcome] = useState<Outcome<unknown>>();
  const refused = viewer.mayAfterSignIn(permission) ? impossible : t("act.needs", { role: t(`role.${permission}`) });

  const act = async () => {
    setBusy(true);
    const result = await signedIn(() => run(reason.trim()));
    setBusy(false);
    setOutcome(result);
    if ("data" in result) {
      setAsking(false);
      setReason("");
      done?.();
    }
  };
  const begin = async () => {
    setOutcome(undefined);
    if (!viewer.may(permission) && !(await signInFor(permission))) return;
    if (confirm) setAsking(true);
    else await act();
  };
  return (
    <span className="act">
      <Button kind={kind} refused={refused} busy={busy} onClick={() => void begin()}>
        {children}
      </Button>
      {!asking && outcome && "failure" in outcome && <Failed failure={outcome.failure} />}
      {!asking && outcome && "data" in outcome && (
        <small role="status" className="done">
          {said ?? t("act.done")}
        </small>
      )}
      {confirm && (
        <Dialog
          open={asking}
          onClose={() => {
            if (busy) stop?.();
            setAsking(false);
          }}
          title={confirm.title}
        >
          <form
            onSubmit={(event) => {
              event.preventDefault();
              void act();
            }}
          >
            <div className="what-happens">{confirm.text}</div>
            {confirm.reason && (
              <label>
                {t(confirm.reason === "required" ? "act.reason" : "act.reason.optional")}
                <textarea
                  value={reason}
                  maxLength={2000}
                  required={confirm.reason === "required"}
                  onChange={(event) => setReason(event.target.value)}
                />
              </label>
            )}
            {outcome && "failure" in outcome && <Failed failure={outcome.failure} />}
            <div className="row end">
              {busy && stop ? (
                <Button onClick={stop}>{t("batch.stop")}</Button>
              ) : (
                <Button onClick={() => setAsking(false)}>{t("act.cancel")}</Button>
              )}
              <Button kind={kind === "plain" || kind === undefined ? "main" : kind} type="submit" busy={busy}>
                {children}
              </Button>
            </div>
          </form>
        </Dialog>
      )}
    </span>
  );
};
