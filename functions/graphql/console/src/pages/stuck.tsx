import { Link } from "wouter";

import { graphql, type ResultOf } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { Reported, Sentence } from "../i18n/said.tsx";
import { Answer } from "../ui/answer.tsx";
import { Badge } from "../ui/badge.tsx";
import { shortId } from "../ui/format.ts";
import { Ago } from "../ui/time.tsx";
import { session } from "../session/session.ts";
import { useViewer } from "../session/viewer.tsx";
import { Button } from "../ui/button.tsx";
import { StartButton } from "./start.tsx";
import { grouped, placeOfGroup } from "./stuck-groups.ts";

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

type Problem = NonNullable<ResultOf<typeof STUCK>["stuck"]>[number];

const EVERY_MS = 5_000;
/** How many orders of a group are named. */
const NAMED = 5;

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
            {grouped(stuck ?? []).map((group) => (
              <Problems key={`${group[0].kind} ${group[0].subject}`} group={group} done={asked.again} />
            ))}
          </ul>
        )}
      </Answer>
    </section>
  );
};

/** One problem, or one that several orders have. */
const Problems = ({ group, done }: { group: [Problem, ...Problem[]]; done: () => void }) => {
  const t = useT();
  const [one] = group;
  const { href, label } = placeOfGroup(group);
  return (
    <li>
      <Badge tone="bad">{t(`stuck.kind.${one.kind}`)}</Badge>{" "}
      <strong>
        {group.length > 1 && t.n("stuck.orders", group.length)}
        <Sentence of={one.waitingForPhrases} english={one.waitingFor} />
      </strong>{" "}
      {group.length === 1 && <code className="break">{one.subject}</code>}{" "}
      {one.since && (
        <small>
          {t("stuck.since")} <Ago at={one.since} />
        </small>
      )}
      {one.lastError && (
        <p>
          <Reported text={one.lastError} />
        </p>
      )}
      {group.length > 1 && (
        <p className="row">
          {group.slice(0, NAMED).map(({ subject }) => (
            <Link key={subject} href={`/orders/${subject.replace("order-", "")}`}>
              <code>{shortId(subject)}</code>
            </Link>
          ))}
          {group.length > NAMED && "…"}
        </p>
      )}
      {one.attempts !== null && group.length === 1 && <p>{t.n("stuck.attempts", one.attempts)}</p>}
      <div className="row between">
        <span>
          <Sentence of={one.whatToDoPhrases} english={one.whatToDo} />
        </span>
        <span className="row center">
          {one.kind === "PROJECTION_STOPPED" && <StartButton name={`project_${one.subject}`} done={done} />}
          <Link className="button main" href={href}>
            {t(label)}
          </Link>
        </span>
      </div>
    </li>
  );
};
