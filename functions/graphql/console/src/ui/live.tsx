import type { Live } from "../api/use-live.ts";
import { useT } from "../i18n/index.tsx";
import { Button } from "./button.tsx";

/** Say whether the page follows what happens. */
export const LiveSign = ({ live }: { live: Live & { again: () => void } }) => {
  const t = useT();
  return (
    <span className={`live ${live.state === "live" ? "live-now" : live.state}`} role="status">
      {t(`live.${live.state}`)}
      {live.message && <span className="break"> {live.message}</span>}
      {live.state === "ended" && live.message && <Button onClick={live.again}>{t("answer.again")}</Button>}
    </span>
  );
};
