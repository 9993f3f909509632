import { useEffect, useState } from "react";

import { graphql, type ResultOf } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { ActButton, send } from "../ui/act.tsx";
import { Answer } from "../ui/answer.tsx";
import { Status } from "../ui/badge.tsx";
import { durationOf, numberOf } from "../ui/format.ts";
import { Spark } from "../ui/spark.tsx";
import { Time } from "../ui/time.tsx";
import { remembered, type Samples } from "./samples.ts";
import { StartButton } from "./start.tsx";

const LAGS = graphql(`
  query Lags {
    projectionStatus {
      name
      status
      lagEvents
      lagSeconds
      stop {
        by
        until
      }
    }
  }
`);

const STOP = graphql(`
  mutation StopProjection($name: String!, $minutes: Int!, $reason: String) {
    stopProjection(name: $name, minutes: $minutes, reason: $reason) {
      name
    }
  }
`);

type Lag = NonNullable<ResultOf<typeof LAGS>["projectionStatus"]>[number];

const EVERY_MS = 2_000;
const MINUTES = 5;

/** The projections, which can be stopped and started, each beside how far its read model is behind. */
export const Stops = () => {
  const t = useT();
  const asked = useAsk(LAGS, {}, { every: EVERY_MS });
  const [samples, setSamples] = useState<Samples>({});
  const found = asked.data?.projectionStatus;
  useEffect(() => {
    if (found) setSamples((before) => remembered(before, found.map(({ name, lagEvents }) => [name, Number(lagEvents)])));
  }, [found]);
  return (
    <section className="panel">
      <h2>{t("lab.projections")}</h2>
      <p className="note">{t("lab.projections.note")}</p>
      <Answer asked={asked}>
        {({ projectionStatus }) => (
          <ul className="steps">
            {projectionStatus?.map((one) => (
              <Projection key={one.name} of={one} samples={samples[one.name] ?? []} done={asked.again} />
            ))}
          </ul>
        )}
      </Answer>
    </section>
  );
};

const Projection = ({ of, samples, done }: { of: Lag; samples: readonly number[]; done: () => void }) => {
  const t = useT();
  const { name, status, lagEvents, lagSeconds, stop } = of;
  const behind =
    lagSeconds === null
      ? t("lab.behind.events", { events: numberOf(lagEvents, t.language) })
      : t("lab.behind", { events: numberOf(lagEvents, t.language), age: durationOf(lagSeconds * 1000, t.language) });
  return (
    <li className="row center">
      <strong>{name}</strong>
      <Status of={status} />
      <span className="lag" data-behind={lagEvents}>
        {Number(lagEvents) === 0 ? t("lab.upToDate") : behind}
      </span>
      <Spark values={samples} label={t("lab.backlog", { name })} />
      {stop ? (
        <>
          <small>
            {stop.by === null ? t("lab.stopped.until") : t("lab.stopped.by", { by: stop.by })} <Time at={stop.until} />
          </small>
          <StartButton name={name} done={done} />
        </>
      ) : (
        <ActButton
          permission="admin"
          kind="danger"
          run={(reason) => send(STOP, { name, minutes: MINUTES, reason: reason || null })}
          done={done}
          confirm={{
            title: t("lab.stop.title", { name }),
            text: t("lab.stop.what", { minutes: MINUTES }),
            reason: "optional",
          }}
        >
          {t("lab.stop")}
        </ActButton>
      )}
    </li>
  );
};
