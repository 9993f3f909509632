import type { ReactNode } from "react";
import { Link } from "wouter";

import { graphql } from "../../api/graphql.ts";
import { useAsk } from "../../api/use-ask.ts";
import { useT } from "../../i18n/index.tsx";
import { Reported, Sentence } from "../../i18n/said.tsx";
import { Answer } from "../../ui/answer.tsx";
import { Badge } from "../../ui/badge.tsx";
import { Ago } from "../../ui/time.tsx";
import { BrokenProviders } from "../faults.tsx";
import { StartButton } from "../start.tsx";
import { placeOf } from "../stuck-place.ts";

const WHY = graphql(`
  query WhyStuck($id: ID!) {
    whyStuck(orderId: $id) {
      stuck
      kind
      answer
      answerPhrases {
        code
        parts
      }
      whatToDo
      whatToDoPhrases {
        code
        parts
      }
      facts {
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
  }
`);

const EVERY_MS = 4_000;

/** One answer to "why is it stuck?", from facts, with the place to put it right beside each. For its owner and admins. `children`: what puts it right here. */
export const WhyStuck = ({ id, hidden, children }: { id: string; hidden: boolean; children?: ReactNode }) => {
  const t = useT();
  const asked = useAsk(WHY, { id }, { every: EVERY_MS, pause: hidden });
  return (
    <section className="panel">
      <h2>{t("why.title")}</h2>
      {hidden ? (
        <>
          <p className="note">{t("why.hidden")}</p>
          {children}
        </>
      ) : (
        <Answer asked={asked}>
          {({ whyStuck: why }) =>
            why && (
              <>
                <p>
                  <Badge tone={why.stuck ? "bad" : "good"}>
                    {why.stuck && why.kind ? t(`stuck.kind.${why.kind}`) : t("why.goesOn")}
                  </Badge>{" "}
                  <strong>
                    <Sentence of={why.answerPhrases} english={why.answer} />
                  </strong>
                </p>
                <p>
                  <Sentence of={why.whatToDoPhrases} english={why.whatToDo} />
                </p>
                {why.facts.length > 0 && <BrokenProviders />}
                {children}
                <ul>
                  {why.facts.map((fact) => {
                    const { href, label } = placeOf(fact.kind, fact.subject);
                    return (
                      <li key={`${fact.kind} ${fact.subject}`}>
                        <strong>
                          <Sentence of={fact.waitingForPhrases} english={fact.waitingFor} />
                        </strong>{" "}
                        <small>
                          {fact.since && (
                            <>
                              {t("stuck.since")} <Ago at={fact.since} />
                            </>
                          )}{" "}
                          {fact.attempts !== null && t.n("stuck.attempts", fact.attempts)}
                        </small>{" "}
                        {fact.lastError && <p><Reported text={fact.lastError} /></p>}
                        {fact !== why.facts[0] && (
                          <p>
                            <Sentence of={fact.whatToDoPhrases} english={fact.whatToDo} />
                          </p>
                        )}
                        {fact.kind === "PROJECTION_STOPPED" && (
                          <StartButton name={`project_${fact.subject}`} done={asked.again} />
                        )}{" "}
                        {!href.startsWith("/orders/") && <Link href={href}>{t(label)}</Link>}
                      </li>
                    );
                  })}
                </ul>
              </>
            )
          }
        </Answer>
      )}
    </section>
  );
};
