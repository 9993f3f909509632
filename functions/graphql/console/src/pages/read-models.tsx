import { graphql, type ResultOf } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { Reported } from "../i18n/said.tsx";
import { useViewer } from "../session/viewer.tsx";
import { ActButton, send } from "../ui/act.tsx";
import { Answer } from "../ui/answer.tsx";
import { Status } from "../ui/badge.tsx";
import { type Field, FormDialog, type Given } from "../ui/form.tsx";
import { durationOf, numberOf } from "../ui/format.ts";
import { Table } from "../ui/table.tsx";
import { Ago } from "../ui/time.tsx";
import { leftOf, needsForce, rebuildOf, shareOf } from "./rebuild.ts";
import { Partitions } from "./rebuild-partitions.tsx";

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
        unread
        documentsPerSecond
        progress {
          documents
          documentsPerSecond
          secondsLeft
          partitions
          unfinishedPartitions
        }
        comparison {
          run
          ended
          partitions
          isEqual
          notCompared
          totals
          fold {
            documents
            digest
          }
          live {
            documents
            digest
            different
          }
          other {
            documents
            digest
            different
          }
        }
      }
    }
  }
`);

const REBUILD = graphql(`
  mutation RebuildProjection($name: String!, $documentsPerSecond: Int, $switchWhenEqual: Boolean, $reason: String) {
    rebuildProjection(
      name: $name
      documentsPerSecond: $documentsPerSecond
      switchWhenEqual: $switchWhenEqual
      reason: $reason
    ) {
      name
    }
  }
`);

const CANCEL = graphql(`
  mutation CancelRebuild($name: String!, $reason: String) {
    cancelRebuild(name: $name, reason: $reason) {
      name
    }
  }
`);

const COMPARE = graphql(`
  mutation CompareProjection($name: String!, $reason: String) {
    compareProjection(name: $name, reason: $reason) {
      name
    }
  }
`);

const SWITCH = graphql(`
  mutation SwitchProjection($name: String!, $to: Int!, $force: Boolean, $reason: String) {
    switchProjection(name: $name, to: $to, force: $force, reason: $reason) {
      name
    }
  }
`);

const DROP = graphql(`
  mutation DropGeneration($name: String!, $reason: String) {
    dropProjectionGeneration(name: $name, reason: $reason) {
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
  const viewer = useViewer();
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
              <dd>
                <Reported text={projection.lastError} />
              </dd>
            </>
          )}
        </dl>
      </div>
      <Generations of={projection.generations} />
      {projection.generations.other !== null && viewer.may("admin") && <Partitions name={projection.name} />}
    </section>
  );
};

const Generations = ({ of }: { of: Projection["generations"] }) => {
  const t = useT();
  const { live, other, state, since, passes, checked, streams, behind, missingEvents, incomplete, progress } = of;
  const share = shareOf(Number(progress?.documents ?? checked), Number(streams));
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
      {progress && <Progress of={of} />}
      {of.comparison && <Comparison of={of.comparison} />}
      {Number(missingEvents) > 0 && <p>{t("generation.missing", { n: number(missingEvents) })}</p>}
      {incomplete.length > 0 && (
        <>
          <h3>{t("generation.incomplete")}</h3>
          <ul>
            {incomplete.map(({ stream, error }) => (
              <li key={stream} className="break">
                <code>{stream}</code> {error && <Reported text={error} />}
              </li>
            ))}
          </ul>
        </>
      )}
    </>
  );
};

const Progress = ({ of: { progress, documentsPerSecond: limit, streams } }: { of: Projection["generations"] }) => {
  const t = useT();
  const number = (value: number | string) => numberOf(value, t.language);
  if (!progress) return null;
  const { documents, documentsPerSecond: rate, secondsLeft: left, partitions, unfinishedPartitions: open } = progress;
  return (
    <dl className="facts">
      <dt>{t("generation.documents")}</dt>
      <dd>{t("generation.documents.of", { n: number(documents), of: number(streams) })}</dd>
      <dt>{t("generation.rate")}</dt>
      <dd>
        {rate === null ? "–" : number(rate)} {limit !== null && t("generation.limited", { n: number(limit) })}
      </dd>
      <dt>{t("partitions.left")}</dt>
      <dd>{leftOf(left, t.language)}</dd>
      <dt>{t("generation.partitions")}</dt>
      <dd>{t("generation.partitions.open", { n: number(partitions), open: number(open) })}</dd>
    </dl>
  );
};

const Comparison = ({ of }: { of: NonNullable<Projection["generations"]["comparison"]> }) => {
  const t = useT();
  const number = (value: number | string) => numberOf(value, t.language);
  const { ended, isEqual, notCompared, totals, fold, live, other, partitions } = of;
  if (!ended) return <p>{t("comparison.running", { n: number(partitions) })}</p>;
  const sides = [
    { name: t("comparison.fold"), side: { ...fold, different: 0 } },
    { name: t("comparison.live"), side: live },
    { name: t("comparison.other"), side: other },
  ];
  return (
    <>
      <p>
        {t(isEqual ? "comparison.equal" : "comparison.different")} <Ago at={ended} />
      </p>
      {notCompared > 0 && <p>{t("comparison.notCompared", { n: number(notCompared) })}</p>}
      {!totals && <p>{t("comparison.noTotals")}</p>}
      <Table
        caption={t("comparison.caption")}
        rows={sides}
        keyOf={({ name }) => name}
        columns={[
          { name: t("comparison.side"), cell: ({ name }) => name },
          { name: t("generation.documents"), number: true, cell: ({ side }) => number(side.documents) },
          { name: t("comparison.differing"), number: true, cell: ({ side }) => number(side.different) },
          { name: t("comparison.digest"), cell: ({ side }) => <code>{side.digest}</code> },
        ]}
      />
    </>
  );
};

const Actions = ({ projection, again }: { projection: Projection; again: () => void }) => {
  const t = useT();
  const { name, generations } = projection;
  const { other, state } = generations;
  const rebuild = (given: Given) => send(REBUILD, { name, ...rebuildOf(given) });
  const why: Field = { name: "reason", label: t("act.reason.optional"), maxLength: 2_000 };
  const begin = (
    <FormDialog
      permission="admin"
      title={t("generation.rebuild")}
      note={t("generation.rebuild.what", { name })}
      refused={other === null ? undefined : t(state === "DROPPED" ? "generation.dropped" : "generation.kept", { n: other })}
      fields={[
        { name: "limit", label: t("generation.limit"), type: "number", min: 1, max: 10_000 },
        {
          name: "switch",
          label: t("generation.whenEqual"),
          required: true,
          value: "no",
          options: [
            { value: "no", label: t("generation.whenEqual.no") },
            { value: "yes", label: t("generation.whenEqual.yes") },
          ],
        },
        why,
      ]}
      run={rebuild}
      done={again}
    />
  );
  if (other === null) return <div className="row">{begin}</div>;
  const force = needsForce(generations);
  return (
    <div className="row">
      {state !== "BUILDING" && begin}
      {state === "BUILDING" && (
        <>
          <FormDialog
            permission="admin"
            title={t("generation.change")}
            note={t("generation.change.what", { name })}
            fields={[
              {
                name: "limit",
                label: t("generation.limit.changed"),
                type: "number",
                min: 1,
                max: 10_000,
                required: true,
                value: generations.documentsPerSecond === null ? "" : String(generations.documentsPerSecond),
              },
              why,
            ]}
            run={rebuild}
            done={again}
          />
          <ActButton
            permission="admin"
            kind="danger"
            run={(reason) => send(CANCEL, { name, reason: reason || null })}
            done={again}
            confirm={{
              title: t("generation.cancel"),
              text: t("generation.cancel.what", { n: other }),
              reason: "optional",
            }}
          >
            {t("generation.cancel")}
          </ActButton>
        </>
      )}
      {state === "KEPT" && (
        <ActButton
          permission="admin"
          run={(reason) => send(COMPARE, { name, reason: reason || null })}
          done={again}
          confirm={{
            title: t("generation.compare"),
            text: t("generation.compare.what", { name }),
            reason: "optional",
          }}
        >
          {t("generation.compare")}
        </ActButton>
      )}
      {(state === "KEPT" || state === "BUILDING") && (
        <ActButton
          key={`${other} ${force}`}
          permission="admin"
          kind={force ? "danger" : "plain"}
          run={(reason) => send(SWITCH, { name, to: other, force, reason: reason || null })}
          done={again}
          confirm={{
            title: t("generation.switch", { n: other }),
            text: t(force ? "generation.switch.force" : "generation.switch.what", { n: other }),
            reason: force ? "required" : "optional",
          }}
        >
          {t(force ? "generation.switch.anyway" : "generation.switch", { n: other })}
        </ActButton>
      )}
      {state !== "DROPPED" && (
        <ActButton
          permission="admin"
          kind="danger"
          run={(reason) => send(DROP, { name, reason })}
          done={again}
          confirm={{
            title: t("generation.drop", { n: other }),
            text: t("generation.drop.what", { n: other }),
            reason: "required",
          }}
        >
          {t("generation.drop", { n: other })}
        </ActButton>
      )}
    </div>
  );
};

export default ReadModels;
