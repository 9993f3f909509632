import type { ReactNode } from "react";

import type { Asked } from "../api/use-ask.ts";
import { type Failure, isRefusal } from "../api/failure.ts";
import type { Key } from "../i18n/catalogue.ts";
import { useT } from "../i18n/index.tsx";
import { Reported } from "../i18n/said.tsx";
import { session } from "../session/session.ts";
import { useSession } from "../session/use-session.ts";
import { Button } from "./button.tsx";
import { Time } from "./time.tsx";

type Props<Data> = {
  asked: Asked<Data>;
  /** Return whether the answer says that there is nothing. */
  isEmpty?: (data: Data) => boolean;
  empty?: ReactNode;
  /** What to say when what the address names does not exist. */
  missing?: ReactNode;
  children: (data: Data) => ReactNode;
};

/** Show an answer, or that it is on its way, or why there is none. A failure never looks like an empty answer. */
export const Answer = <Data,>({ asked, isEmpty, empty, missing, children }: Props<Data>) => {
  const t = useT();
  const { data, failure, loading, at, again } = asked;
  if (missing && !data && failure?.code === "NOT_FOUND") {
    return (
      <p className="failed" role="alert">
        {missing}
      </p>
    );
  }
  return (
    <>
      {failure && <Failed failure={failure} again={again} since={data === undefined ? undefined : at} />}
      {data === undefined ? (
        !failure && (
          <p className="loading" role="status">
            {t("answer.loading")}
          </p>
        )
      ) : isEmpty?.(data) && !failure ? (
        <div className="empty">{empty ?? t("answer.empty")}</div>
      ) : (
        <div aria-busy={loading}>{children(data)}</div>
      )}
    </>
  );
};

/** Ask for sign-in. What the page has asked for is asked again afterwards. */
export const AskSignIn = () => {
  const t = useT();
  const { user } = useSession();
  if (user || !session.where.signIn) return null;
  return (
    <Button kind="main" onClick={() => void session.ask()}>
      {t("person.in")}
    </Button>
  );
};

const headingOf = (code: string): Key => {
  if (code === "UNAUTHENTICATED") return "answer.signIn";
  if (code === "NETWORK") return "answer.offline";
  return isRefusal(code) ? "answer.refused" : "answer.failed";
};

export const Failed = ({ failure, again, since }: { failure: Failure; again?: () => void; since?: Date }) => {
  const t = useT();
  const signIn = failure.code === "UNAUTHENTICATED";
  return (
    <div className="failed" role="alert">
      <p>
        <strong>{t(headingOf(failure.code))}</strong> {!signIn && <Reported text={failure.message} />}{" "}
        <code>{failure.code}</code>
      </p>
      {signIn && <AskSignIn />}
      {since && (
        <p>
          {t("answer.since")} <Time at={since.toISOString()} />
        </p>
      )}
      {again && !signIn && <Button onClick={again}>{t("answer.again")}</Button>}
    </div>
  );
};
