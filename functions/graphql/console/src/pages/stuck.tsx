import { Link } from "wouter";

import { graphql } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { Answer } from "../ui/answer.tsx";
import { Badge } from "../ui/badge.tsx";
import { Ago, Time } from "../ui/time.tsx";
import { session } from "../session/session.ts";
import { useViewer } from "../session/viewer.tsx";
import { Button } from "../ui/button.tsx";
import { placeOf } from "./stuck-place.ts";

const STUCK = graphql(`
  query Stuck {
    stuck {
      kind
      subject
      since
      waitingFor
      lastError
      attempts
      nextTry
      whatToDo
    }
  }
`);

const EVERY_MS = 5_000;

/** What is stuck now, why, and where to put it right. */
export const StuckNow = () => {
  const t = useT();
  const viewer = useViewer();
  const isAdmin = viewer.may("admin");
  const asked = useAsk(STUCK, {}, { every: EVERY_MS, pause: !isAdmin });
  if (!isAdmin) {
    return (
      <section aria-labelledby="stuck" className="panel">
        <h2 id="stuck">{t("stuck.title")}</h2>
        <p>{t("stuck.admins")}</p>
        {viewer.mayAfterSignIn("admin") && <Button onClick={() => void session.ask()}>{t("person.in")}</Button>}
      </section>
    );
  }
  return (
    <section aria-labelledby="stuck">
      <h2 id="stuck">{t("stuck.title")}</h2>
      <Answer
        asked={asked}
        isEmpty={({ stuck }) => stuck?.length === 0}
        empty={<p className="fine">{t("stuck.none")}</p>}
      >
        {({ stuck }) => (
          <ul className="stuck">
            {stuck?.map((one) => {
              const { href, label } = placeOf(one.kind, one.subject);
              return (
                <li key={`${one.kind} ${one.subject}`}>
                  <Badge tone="bad">{t(`stuck.kind.${one.kind}`)}</Badge> <strong>{one.waitingFor}</strong>{" "}
                  <code className="break">{one.subject}</code>{" "}
                  {one.since && (
                    <small>
                      {t("stuck.since")} <Ago at={one.since} />
                    </small>
                  )}
                  {one.lastError && <p className="break">{one.lastError}</p>}
                  <p>
                    {one.attempts !== null && <>{t.n("stuck.attempts", one.attempts)} </>}
                    {one.nextTry && (
                      <>
                        {t("stuck.next")} <Time at={one.nextTry} />
                      </>
                    )}
                  </p>
                  <div className="row between">
                    <span>{one.whatToDo}</span>
                    <Link className="button main" href={href}>
                      {t(label)}
                    </Link>
                  </div>
                </li>
              );
            })}
          </ul>
        )}
      </Answer>
    </section>
  );
};
