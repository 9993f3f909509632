import { graphql, type ResultOf } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { ActButton, send } from "../ui/act.tsx";
import { Answer } from "../ui/answer.tsx";
import { Status } from "../ui/badge.tsx";
import { durationOf, numberOf } from "../ui/format.ts";
import { Ago } from "../ui/time.tsx";

const PROJECTIONS = graphql(`
  query Projections {
    projectionStatus {
      name
      readModel
      status
      position
      lagEvents
      lagSeconds
      aheadEvents
      processedCount
      lastProcessedAt
      deliveries
      failedDeliveries
      deadLetters
      lastError
      lastErrorAt
      generations {
        live
        other
        state
        since
        passes
        checked
        streams
        behind
        missingEvents
        incomplete {
          stream
          error
        }
      }
    }
  }
`);

const REBUILD = graphql(`
  mutation RebuildProjection($name: String!) {
    rebuildProjection(name: $name) {
      name
    }
  }
`);

const SWITCH = graphql(`
  mutation SwitchProjection($name: String!, $to: Int!, $force: Boolean) {
    switchProjection(name: $name, to: $to, force: $force) {
      name
    }
  }
`);

const DROP = graphql(`
  mutation DropGeneration($name: String!) {
    dropProjectionGeneration(name: $name) {
      name
    }
  }
`);

type Projection = NonNullable<ResultOf<typeof PROJECTIONS>["projectionStatus"]>[number];

const EVERY_MS = 2_500;

const ReadModels = () => {
  const t = useT();
  const asked = useAsk(PROJECTIONS, {}, { every: EVERY_MS });
  return (
    <>
      <h1>{t("nav.readModels")}</h1>
      <Answer asked={asked}>
        {({ projectionStatus }) =>
          projectionStatus?.map((one) => <Model key={one.name} projection={one} again={asked.again} />)
        }
      </Answer>
    </>
  );
};

const Model = ({ projection, again }: { projection: Projection; again: () => void }) => {
  const t = useT();
  const number = (value: number | string) => numberOf(value, t.language);
  return (
    <section className="panel">
      <div className="row between">
        <h2>
          {projection.name} <Status of={projection.status} />
        </h2>
        <Actions projection={projection} again={again} />
      </div>
      <div className="columns">
        <dl className="facts">
          <dt>{t("projection.reads")}</dt>
          <dd>
            <code>{projection.readModel}</code>
          </dd>
          <dt>{t("projection.lag")}</dt>
          <dd>{number(projection.lagEvents)}</dd>
          <dt>{t("projection.age")}</dt>
          <dd>{projection.lagSeconds === null ? t("unknown") : durationOf(projection.lagSeconds * 1000, t.language)}</dd>
          <dt>{t("projection.last")}</dt>
          <dd>{projection.lastProcessedAt ? <Ago at={projection.lastProcessedAt} /> : "–"}</dd>
          {projection.aheadEvents > 0 && (
            <>
              <dt>{t("projection.ahead")}</dt>
              <dd>{number(projection.aheadEvents)}</dd>
            </>
          )}
        </dl>
        <dl className="facts">
          <dt>{t("projection.applied")}</dt>
          <dd>{number(projection.processedCount)}</dd>
          <dt>{t("projection.deliveries")}</dt>
          <dd>{number(projection.deliveries)}</dd>
          <dt>{t("projection.failed")}</dt>
          <dd>{number(projection.failedDeliveries)}</dd>
          <dt>{t("nav.deadLetters")}</dt>
          <dd>{number(projection.deadLetters)}</dd>
          {projection.lastError && (
            <>
              <dt>{t("error")}</dt>
              <dd>{projection.lastError}</dd>
            </>
          )}
        </dl>
      </div>
      <Generations of={projection.generations} />
    </section>
  );
};

const Generations = ({ of }: { of: Projection["generations"] }) => {
  const t = useT();
  const { live, other, state, since, passes, checked, streams, behind, missingEvents, incomplete } = of;
  const share = Number(streams) > 0 ? Number(checked) / Number(streams) : 0;
  const number = (value: number | string) => numberOf(value, t.language);
  if (other === null) return <p className="note">{t("generation.only", { n: live })}</p>;
  return (
    <>
      <p>
        {t("generation.two", { live, other })} {state && <Status of={state} />} {since && <Ago at={since} />}
      </p>
      {state === "BUILDING" && (
        <>
          <div
            className="bar"
            role="progressbar"
            aria-label={t("generation.progress")}
            aria-valuenow={Math.round(share * 100)}
            aria-valuemin={0}
            aria-valuemax={100}
          >
            <span style={{ width: `${share * 100}%` }} />
          </div>
          <p>
            {t("generation.checked", { pass: passes + 1, n: number(checked), of: number(streams), behind: number(behind) })}
          </p>
        </>
      )}
      {Number(missingEvents) > 0 && <p>{t("generation.missing", { n: number(missingEvents) })}</p>}
      {incomplete.length > 0 && (
        <ul>
          {incomplete.map(({ stream, error }) => (
            <li key={stream} className="break">
              <code>{stream}</code> {error}
            </li>
          ))}
        </ul>
      )}
    </>
  );
};

const Actions = ({ projection, again }: { projection: Projection; again: () => void }) => {
  const t = useT();
  const { name, generations } = projection;
  const { other, state } = generations;
  return (
    <div className="row">
      {(other === null || state === "DROPPED") && (
        <ActButton
          permission="admin"
          run={() => send(REBUILD, { name })}
          done={again}
          confirm={{ title: t("generation.rebuild"), text: t("generation.rebuild.what", { name }) }}
        >
          {t("generation.rebuild")}
        </ActButton>
      )}
      {other !== null && state !== "DROPPED" && (
        <>
          <ActButton
            permission="admin"
            run={() => send(SWITCH, { name, to: other, force: false })}
            done={again}
            confirm={{ title: t("generation.switch", { n: other }), text: t("generation.switch.what", { n: other }) }}
          >
            {t("generation.switch", { n: other })}
          </ActButton>
          <ActButton
            permission="admin"
            kind="danger"
            run={() => send(DROP, { name })}
            done={again}
            confirm={{ title: t("generation.drop", { n: other }), text: t("generation.drop.what", { n: other }) }}
          >
            {t("generation.drop", { n: other })}
          </ActButton>
        </>
      )}
    </div>
  );
};

export default ReadModels;
