import { Link } from "wouter";

import { useT } from "../i18n/index.tsx";
import { session } from "../session/session.ts";
import { logOfRequest, traceOf } from "./cloud.ts";
import { Elsewhere } from "./places.tsx";

/** What else is known of a request: its events, all of its trace, its lines in the logs. Nothing where ids are masked. */
export const Request = ({ correlationId, traceId }: { correlationId: string | null; traceId: string | null }) => {
  const t = useT();
  if (correlationId === null) return null;
  return (
    <div className="row center">
      <Link className="button" href={`/events?correlation=${correlationId}`}>
        {t("events.sameCorrelation")}
      </Link>
      {traceId && (
        <>
          <Link className="button" href={`/events?trace=${traceId}`}>
            {t("events.sameTrace")}
          </Link>
          <Link className="button" href={`/executions?trace=${traceId}`}>
            {t("executions.sameTrace")}
          </Link>
          <Elsewhere place={traceOf(session.where, traceId)} of="trace" />
        </>
      )}
      <Elsewhere place={logOfRequest(session.where, correlationId)} of="logs" />
    </div>
  );
};
