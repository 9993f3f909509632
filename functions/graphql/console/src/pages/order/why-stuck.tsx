import { Link } from "wouter";

import { graphql } from "../../api/graphql.ts";
import { useAsk } from "../../api/use-ask.ts";
import { useT } from "../../i18n/index.tsx";
import { Answer } from "../../ui/answer.tsx";
import { Badge } from "../../ui/badge.tsx";
import { Ago, Time } from "../../ui/time.tsx";
import { placeOf } from "../stuck-place.ts";

const WHY = graphql(`
  query WhyStuck($id: ID!) {
    whyStuck(orderId: $id) {
      stuck
      kind
      answer
      whatToDo
      facts {
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
  }
`);

const EVERY_MS = 4_000;

/** One answer to "why is it stuck?", from facts, with the place to put it right beside each. For its owner and admins. */
export const WhyStuck = ({ id, hidden }: { id: string; hidden: boolean }) => {
  const t = useT();
  const asked = useAsk(WHY, { id }, { every: EVERY_MS, pause: hidden });
  return (
    <section className="panel">
      <h2>{t("why.title")}</h2>
      {hidden ? (
        <p className="note">{t("why.hidden")}</p>
      ) : (
        <Answer asked={asked}>
          {({ whyStuck: why }) =>
            why && (
              <>
                <p>
                  <Badge tone={why.stuck ? "bad" : "good"}>{t(why.stuck ? "why.stuck" : "why.goesOn")}</Badge>{" "}
                  <strong>{why.answer}</strong>
                </p>
                {why.whatToDo && <p>{why.whatToDo}</p>}
                <ul>
                  {why.facts.map((fact) => {
                    const { href, label } = placeOf(fact.kind, fact.subject);
                    return (
                      <li key={`${fact.kind} ${fact.subject}`}>
                        {fact.waitingFor} {fact.since && <Ago at={fact.since} />}{" "}
                        {fact.nextTry && (
                          <>
                            {t("stuck.next")} <Time at={fact.nextTry} />
                          </>
                        )}{" "}
                        {fact.lastError && <span className="break">{fact.lastError} </span>}
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
