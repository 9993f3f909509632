type Step = {
  name: string;
  command: string;
  compensation: string | null;
  startedAt: string | null;
  endedAt: string | null;
};

export type StepCount = { step: string | null; active: number; compensating: number; stuck: number };

export type StepSummary = { name: string; compensation: string | null; now: number; stuck: number; medianMs?: number };

const median = (numbers: readonly number[]): number | undefined =>
  [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

/** Return each step of the definition: how many sagas are at it now, and how long it took, in the middle of the recent ones. */
export const stepsOf = (
  sagas: readonly { steps: readonly Step[] }[],
  counts: readonly StepCount[],
): StepSummary[] =>
  (sagas[0]?.steps ?? []).map(({ name, compensation }, index) => {
    const took = sagas.flatMap(({ steps }) => {
      const step = steps[index];
      return step?.startedAt && step.endedAt ? [Date.parse(step.endedAt) - Date.parse(step.startedAt)] : [];
    });
    const here = counts.find(({ step }) => step === name);
    return { name, compensation, now: here?.active ?? 0, stuck: here?.stuck ?? 0, medianMs: median(took) };
  });
