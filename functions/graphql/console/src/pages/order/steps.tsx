import { useT } from "../../i18n/index.tsx";
import { Badge, type Tone } from "../../ui/badge.tsx";
import { durationOf } from "../../ui/format.ts";
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
      {saga.reason && moment === null && <p className="break">{saga.reason}</p>}
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
      {step.undoneAt && step.compensation && (
        <div>
          <small>
            ↩ {step.compensation} <Time at={step.undoneAt} precise />
          </small>
        </div>
      )}
      {step.lastError && <p className="break">{step.lastError}</p>}
    </li>
  );
};
