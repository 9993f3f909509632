import type { ReactNode } from "react";

import type { Asked } from "../api/use-ask.ts";
import { type Failure, isRefusal } from "../api/failure.ts";
import { useT } from "../i18n/index.tsx";
import { Button } from "./button.tsx";
import { Time } from "./time.tsx";

type Props<Data> = {
  asked: Asked<Data>;
  /** Return whether the answer says that there is nothing. */
  isEmpty?: (data: Data) => boolean;
  empty?: ReactNode;
  children: (data: Data) => ReactNode;
};

/** Show an answer, or that it is on its way, or why there is none. A failure never looks like an empty answer. */
export const Answer = <Data,>({ asked, isEmpty, empty, children }: Props<Data>) => {
  const t = useT();
  const { data, failure, loading, at, again } = asked;
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

export const Failed = ({ failure, again, since }: { failure: Failure; again?: () => void; since?: Date }) => {
  const t = useT();
  return (
    <div className="failed" role="alert">
      <p>
        {!isRefusal(failure.code) && (
          <strong>{t(failure.code === "NETWORK" ? "answer.offline" : "answer.failed")}</strong>
        )}{" "}
        {failure.message} <code>{failure.code}</code>
      </p>
      {since && (
        <p>
          {t("answer.since")} <Time at={since.toISOString()} />
        </p>
      )}
      {again && <Button onClick={again}>{t("answer.again")}</Button>}
    </div>
  );
};
