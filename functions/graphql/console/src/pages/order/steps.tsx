import { useT } from "../../i18n/index.tsx";
import { Reported } from "../../i18n/said.tsx";
import { Badge, type Tone } from "../../ui/badge.tsx";
import { durationOf } from "../../ui/format.ts";
import { Personal } from "../../ui/personal.tsx";
import { Time } from "../../ui/time.tsx";
import { statusAt } from "./lanes.ts";
import type { SagaData, Step } from "./query.ts";

const TONES: Record<string, Tone> = {
  DONE: "good",
  RUNNING: "info",
  UNDOING: "warn",
  UNDONE: "warn",
  FAILED: "bad",
  STUCK: "bad",
  GIVEN_UP: "warn",
};

/** The saga's steps, now or as of the slider's moment. */
export const SagaSteps = ({ saga, moment }: { saga: SagaData; moment: number | null }) => {
  const t = useT();
  return (
    <section className="panel">
      <h2>{t("steps.title")}</h2>
      {saga.reason && moment === null && (
        <p>
          <Personal of={saga.reason}>
            <Reported text={saga.reason} />
          </Personal>
        </p>
      )}
      <ul className="steps">
        {saga.steps.map((step) => (
          <StepLine key={step.name} step={step} moment={moment} />
        ))}
      </ul>
    </section>
  );
};

const StepLine = ({ step, moment }: { step: Step; moment: number | null }) => {
  const t = useT();
  const present = step.status ?? t("unknown");
  const status = moment === null ? present : statusAt({ ...step, status: present }, moment);
  const undoes = moment === null && (status === "UNDOING" || status === "STUCK");
  const took =
    step.startedAt && step.endedAt ? Date.parse(step.endedAt) - Date.parse(step.startedAt) : undefined;
  return (
    <li>
      <Badge tone={TONES[status] ?? "plain"}>{status}</Badge> <strong>{step.name}</strong>{" "}
      {took !== undefined && <small>{durationOf(took, t.language)}</small>}{" "}
      {(step.attempts ?? 0) > 1 && <small>{t.n("stuck.attempts", step.attempts ?? 0)}</small>}
      {step.deadlineAt && moment === null && (
        <small>
          {" "}
          {t("steps.deadline")} <Time at={step.deadlineAt} />
        </small>
      )}
      {step.compensation && (undoes || (step.undoneAt && (moment === null || Date.parse(step.undoneAt) <= moment))) && (
        <div>
          <small>
            ↩ {step.compensation} {step.undoneAt && <Time at={step.undoneAt} precise />}{" "}
            {(step.undoAttempts ?? 0) > 1 && t.n("stuck.attempts", step.undoAttempts ?? 0)}
          </small>
        </div>
      )}
      {step.lastError && (
        <p>
          <Reported text={step.lastError} />
        </p>
      )}
    </li>
  );
};
