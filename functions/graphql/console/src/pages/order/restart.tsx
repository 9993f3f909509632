import { useState } from "react";

import { useT } from "../../i18n/index.tsx";
import { ActButton, send } from "../../ui/act.tsx";
import { RESTART } from "./query.ts";

type Restarted = { id: string; steps: readonly { name: string }[]; done: () => void };

/** Sends a stuck saga forward again, from the step that the admin chooses. */
export const RestartButton = ({ id, steps, done }: Restarted) => {
  const t = useT();
  const [fromStep, setFromStep] = useState(steps[0]?.name ?? "");
  return (
    <ActButton
      permission="admin"
      run={(reason) => send(RESTART, { id, fromStep, reason: reason || null })}
      done={done}
      confirm={{
        title: t("order.restart"),
        reason: "optional",
        text: (
          <>
            <p>{t("order.restart.what")}</p>
            <label>
              {t("orders.step")}
              <select value={fromStep} onChange={(event) => setFromStep(event.target.value)}>
                {steps.map(({ name }) => (
                  <option key={name}>{name}</option>
                ))}
              </select>
            </label>
          </>
        ),
      }}
    >
      {t("order.restart")}
    </ActButton>
  );
};
