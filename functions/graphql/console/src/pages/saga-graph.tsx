import { Link } from "wouter";

import { graphql } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { Answer } from "../ui/answer.tsx";
import { durationOf } from "../ui/format.ts";
import { stepsOf } from "./saga-steps.ts";

const RECENT = graphql(`
  query SagaDefinition {
    recent: sagasConnection(first: 50) {
      edges {
        node {
          id
          steps {
            name
            command
            compensation
            startedAt
            endedAt
          }
        }
      }
    }
    sagaSteps {
      step
      active
      compensating
      stuck
    }
  }
`);

/** How much the picture shrinks to fit before it scrolls. */
const SMALLEST = 0.7;
const STEP = { width: 190, height: 62, gap: 44 };

/** The saga's definition as a graph: how many are at each step now, and how long a step takes. */
export const SagaGraph = () => {
  const t = useT();
  const asked = useAsk(RECENT, {}, { every: 10_000 });
  return (
    <section className="panel">
      <h2>{t("sagas.definition")}</h2>
      <Answer
        asked={asked}
        isEmpty={({ recent }) => recent?.edges.length === 0}
        empty={<p className="note">{t("sagas.none")}</p>}
      >
        {({ recent, sagaSteps }) => {
          const sagas = recent?.edges.map(({ node }) => node) ?? [];
          const steps = stepsOf(sagas, sagaSteps ?? []);
          const undone = sagaSteps?.find(({ step }) => step === null)?.active ?? 0;
          const width = steps.length * (STEP.width + STEP.gap);
          return (
            <>
              {undone > 0 && <p className="note">{t.n("sagas.undone", undone)}</p>}
              <div className="graph" role="region" aria-label={t("sagas.definition")} tabIndex={0}>
                <svg
                  viewBox={`0 0 ${width} 190`}
                  className="grows"
                  style={{ minWidth: width * SMALLEST, maxWidth: width }}
                  role="group"
                  aria-label={t("sagas.definition")}
                >
                  {steps.map((step, index) => {
                    const x = index * (STEP.width + STEP.gap) + 4;
                    const stuck = step.stuck > 0 ? ` · ${t.n("sagas.stuckHere", step.stuck)}` : "";
                    return (
                      <g key={step.name}>
                        <Link href={`/sagas?status=ACTIVE&step=${step.name}`}>
                          <g className={`node ${step.stuck > 0 ? "bad" : step.now > 0 ? "warn" : ""}`}>
                            <rect x={x} y={6} width={STEP.width} height={STEP.height} rx={8} />
                            <text x={x + 12} y={28}>
                              {step.name}
                            </text>
                            <text x={x + 12} y={48} className="second">
                              {t.n("sagas.here", step.now)}
                              {stuck}
                              {step.medianMs !== undefined && ` · ${durationOf(step.medianMs, t.language)}`}
                            </text>
                          </g>
                        </Link>
                        {index < steps.length - 1 && (
                          <path d={`M${x + STEP.width} 37 h${STEP.gap - 8} m-6 -5 l6 5 l-6 5`} />
                        )}
                        {step.compensation && (
                          <>
                            <path d={`M${x + STEP.width / 2} 68 v38 m-5 -6 l5 6 l5 -6`} />
                            <g className="node">
                              <rect x={x} y={108} width={STEP.width} height={40} rx={8} />
                              <text x={x + 12} y={132} className="second">
                                ↩ {step.compensation}
                              </text>
                            </g>
                          </>
                        )}
                      </g>
                    );
                  })}
                </svg>
              </div>
            </>
          );
        }}
      </Answer>
    </section>
  );
};
