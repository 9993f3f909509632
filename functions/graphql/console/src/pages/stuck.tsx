import { Link } from "wouter";

import { graphql } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { Sentence } from "../i18n/said.tsx";
import { Answer } from "../ui/answer.tsx";
import { Badge } from "../ui/badge.tsx";
import { Ago } from "../ui/time.tsx";
import { session } from "../session/session.ts";
import { useViewer } from "../session/viewer.tsx";
import { Button } from "../ui/button.tsx";
import { StartButton } from "./start.tsx";
import { placeOf } from "./stuck-place.ts";

const STUCK = graphql(`
  query Stuck {
    stuck {
      kind
      subject
      since
      waitingFor
      waitingForPhrases {
        code
        parts
      }
      lastError
      attempts
      whatToDo
      whatToDoPhrases {
        code
        parts
      }
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
      <p className="note">{t("stuck.note")}</p>
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
                  <Badge tone="bad">{t(`stuck.kind.${one.kind}`)}</Badge> <strong>
                    <Sentence of={one.waitingForPhrases} english={one.waitingFor} />
                  </strong>{" "}
                  <code className="break">{one.subject}</code>{" "}
                  {one.since && (
                    <small>
                      {t("stuck.since")} <Ago at={one.since} />
                    </small>
                  )}
                  {one.lastError && <p className="break">{one.lastError}</p>}
                  {one.attempts !== null && <p>{t.n("stuck.attempts", one.attempts)}</p>}
                  <div className="row between">
                    <span>
                      <Sentence of={one.whatToDoPhrases} english={one.whatToDo} />
                    </span>
                    <span className="row center">
                      {one.kind === "PROJECTION_STOPPED" && (
                        <StartButton name={`project_${one.subject}`} done={asked.again} />
                      )}
                      <Link className="button main" href={href}>
                        {t(label)}
                      </Link>
                    </span>
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
