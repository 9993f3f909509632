import { Link } from "wouter";

import { graphql, type ResultOf } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { nameIn } from "../i18n/phrases.ts";
import { Reported, Sentence } from "../i18n/said.tsx";
import { Answer } from "../ui/answer.tsx";
import { Badge } from "../ui/badge.tsx";
import { shortId } from "../ui/format.ts";
import { Ago } from "../ui/time.tsx";
import { session } from "../session/session.ts";
import { useViewer } from "../session/viewer.tsx";
import { Button } from "../ui/button.tsx";
import { BrokenProviders } from "./faults.tsx";
import { StartButton } from "./start.tsx";
import { cutOff, grouped, placeOfGroup, sharedBy } from "./stuck-groups.ts";

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
      ofKind
      deadLetters {
        source
        type
        error
      }
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
        {viewer.mayAfterSignIn("admin") && <Button onClick={() => void session.ask("admin")}>{t("person.in")}</Button>}
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
        {({ stuck }) => <Groups problems={stuck ?? []} done={asked.again} />}
      </Answer>
    </section>
  );
};

const Groups = ({ problems, done }: { problems: readonly Problem[]; done: () => void }) => {
  const t = useT();
  const cut = cutOff(problems);
  return (
    <>
      <BrokenProviders />
      <ul className="stuck">
        {grouped(problems).map((group) => (
          <Problems
            key={JSON.stringify([group[0].kind, group[0].subject, group[0].deadLetters])}
            group={group}
            isCut={cut.some(({ kind }) => kind === group[0].kind)}
            done={done}
          />
        ))}
      </ul>
      {cut.map(({ kind, listed, all }) => (
        <p key={kind} className="note">
          {t.n("stuck.cut", all, { listed, kind: t(`stuck.kind.${kind}`) })}
        </p>
      ))}
    </>
  );
};

/** What several orders wait for, and why. `isCut`: there may be more of them than are listed. */
const OfOrders = ({ group, isCut }: { group: [Problem, ...Problem[]]; isCut: boolean }) => {
  const t = useT();
  const { waitedFor, command, why, dependency } = sharedBy(group);
  const what = waitedFor ? t(waitedFor) : command;
  const because = t(why, { dependency: dependency ? nameIn(t.language, dependency) : "" });
  return t.n(isCut ? "stuck.ordersOrMore" : "stuck.orders", group.length, { what, because });
};

/** One problem, or one that several orders have. */
const Problems = ({ group, isCut, done }: { group: [Problem, ...Problem[]]; isCut: boolean; done: () => void }) => {
  const t = useT();
  const [one] = group;
  const { href, label } = placeOfGroup(group);
  return (
    <li>
      <Badge tone="bad">{t(`stuck.kind.${one.kind}`)}</Badge>{" "}
      <strong>
        {group.length > 1 ? (
          <OfOrders group={group} isCut={isCut} />
        ) : (
          <Sentence of={one.waitingForPhrases} english={one.waitingFor} />
        )}
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
