import type { ReactNode } from "react";
import { Link } from "wouter";

import { graphql, type ResultOf } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { useViewer } from "../session/viewer.tsx";
import { Answer } from "../ui/answer.tsx";
import { shortId } from "../ui/format.ts";

const CAUSATION = graphql(`
  query EventCausation($id: Int!) {
    eventCausation(id: $id) {
      causes {
        id
        aggregateId
        aggregateType
        eventType
        eventVersion
      }
      effects {
        id
        aggregateId
        aggregateType
        eventType
        eventVersion
      }
    }
  }
`);

type Neighbour = NonNullable<ResultOf<typeof CAUSATION>["eventCausation"]>["causes"][number];

/** What led to an event and what it led to, each with the way there. For admins. */
export const Causation = ({ id }: { id: number }) => {
  const t = useT();
  const isAdmin = useViewer().may("admin");
  const asked = useAsk(CAUSATION, { id }, { pause: !isAdmin });
  if (!isAdmin) return null;
  return (
    <Answer asked={asked}>
      {({ eventCausation: found }) =>
        found && (
          <dl className="facts">
            <dt>{t("events.causes")}</dt>
            <dd>
              <Neighbours of={found.causes}>{t("events.causes.none")}</Neighbours>
            </dd>
            <dt>{t("events.effects")}</dt>
            <dd>
              <Neighbours of={found.effects}>{t("events.effects.none")}</Neighbours>
            </dd>
          </dl>
        )
      }
    </Answer>
  );
};

const Neighbours = ({ of, children }: { of: readonly Neighbour[]; children: ReactNode }) =>
  of.length === 0 ? (
    children
  ) : (
    <span className="row">
      {of.map(({ id, aggregateId, aggregateType, eventType, eventVersion }) => (
        <span key={id}>
          <Link className="button" href={`/events/${aggregateId}?from=${eventVersion - 1}&version=${eventVersion}`}>
            {eventType}
          </Link>{" "}
          <small>
            {aggregateType} {shortId(aggregateId)}
          </small>
        </span>
      ))}
    </span>
  );
