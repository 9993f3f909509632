import type { Key } from "../../i18n/catalogue.ts";
import { useT } from "../../i18n/index.tsx";
import { Reported } from "../../i18n/said.tsx";
import { Status, type Tone } from "../../ui/badge.tsx";
import { durationOf } from "../../ui/format.ts";
import { Personal } from "../../ui/personal.tsx";
import { Time } from "../../ui/time.tsx";
import { type Sent, sentBy, statusAt } from "./lanes.ts";
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

/** What each step's command does, for readers who have not seen its function. */
const DOES: Record<string, Key> = {
  ReserveInventory: "does.ReserveInventory",
  ProcessPayment: "does.ProcessPayment",
  ArrangeShipping: "does.ArrangeShipping",
  ConfirmOrder: "does.ConfirmOrder",
  NotifyCustomer: "does.NotifyCustomer",
};

/** What is so once a compensation has been made. */
const TAKEN_BACK: Record<string, Key> = {
  ReleaseInventory: "taken.ReleaseInventory",
  RefundPayment: "taken.RefundPayment",
  CancelShipping: "taken.CancelShipping",
};

/** Say what was undone, in the words of a shop rather than of its functions. */
const TakenBack = ({ steps }: { steps: readonly Step[] }) => {
  const t = useT();
  const undone = steps.flatMap(({ status, compensation }) => (status === "UNDONE" && compensation ? [compensation] : []));
  if (undone.length === 0) return null;
  const words = undone.map((name) => (TAKEN_BACK[name] ? t(TAKEN_BACK[name]) : name));
  return <p>{t("steps.takenBack", { what: new Intl.ListFormat(t.language).format(words) })}</p>;
};

/** The saga's steps, now or as of the slider's moment. */
export const SagaSteps = ({ saga, moment }: { saga: SagaData; moment: string | null }) => {
  const t = useT();
  return (
    <>
      {saga.reason && moment === null && (
        <p>
          {t("steps.reason")}{" "}
          <Personal of={saga.reason}>
            <Reported text={saga.reason} />
          </Personal>
        </p>
      )}
      {moment === null && <TakenBack steps={saga.steps} />}
      <ul className="steps">
        {saga.steps.map((step) => (
          <StepLine key={step.name} step={step} sent={saga.commandsDispatched ?? []} moment={moment} />
        ))}
      </ul>
    </>
  );
};

type StepProps = { step: Step; sent: readonly Sent[]; moment: string | null };

const StepLine = ({ step, sent, moment }: StepProps) => {
  const t = useT();
  const present = step.status ?? t("unknown");
  const status = moment === null ? present : statusAt({ ...step, status: present }, sent, moment);
  const does = DOES[step.command];
  const undoes = ["UNDOING", "UNDONE", "STUCK"].includes(status);
  const attempts = moment === null ? step.attempts ?? 0 : sentBy(sent, step.command, moment);
  const undoAttempts = moment === null ? step.undoAttempts ?? 0 : sentBy(sent, step.compensation, moment);
  const ended = step.endedAt && (moment === null || step.endedAt <= moment) ? step.endedAt : undefined;
  const took = step.startedAt && ended ? Date.parse(ended) - Date.parse(step.startedAt) : undefined;
  const facts = [does ? t(does) : "", took === undefined ? "" : durationOf(took, t.language)].filter(Boolean);
  return (
    <li>
      <Status of={status} tone={TONES[status] ?? "plain"} /> <strong>{step.name}</strong>{" "}
      <small>{facts.join(" · ")}</small>{" "}
      {attempts > 1 && <small>{t.n("stuck.attempts", attempts)}</small>}
      {step.deadlineAt && moment === null && (
        <small>
          {" "}
          {t("steps.deadline")} <Time at={step.deadlineAt} />
        </small>
      )}
      {step.compensation && undoes && (
        <div>
          <small>
            ↩ {step.compensation} {status === "UNDONE" && step.undoneAt && <Time at={step.undoneAt} precise />}{" "}
            {undoAttempts > 1 && t.n("stuck.attempts", undoAttempts)}
          </small>
        </div>
      )}
      {step.lastError && moment === null && (
        <p>
          <Reported text={step.lastError} />
        </p>
      )}
    </li>
  );
};
