import { useT } from "../../i18n/index.tsx";
import { ActButton, send } from "../../ui/act.tsx";
import { RETRY } from "./query.ts";
import { RestartButton } from "./restart.tsx";

type PutRightProps = { id: string; steps: readonly { name: string }[]; done: () => void; kind?: "main" };

/** What an admin can do for a saga whose compensation was never answered. */
export const PutRight = ({ id, steps, done, kind }: PutRightProps) => {
  const t = useT();
  return (
    <span className="row">
      <ActButton
        permission="admin"
        kind={kind}
        run={(reason) => send(RETRY, { id, reason: reason || null })}
        done={done}
        confirm={{ title: t("order.retry"), text: t("order.retry.what"), reason: "optional" }}
      >
        {t("order.retry")}
      </ActButton>
      <RestartButton id={id} steps={steps} done={done} />
    </span>
  );
};
