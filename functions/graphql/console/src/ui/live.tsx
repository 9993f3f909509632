import type { Live } from "../api/use-live.ts";
import { useT } from "../i18n/index.tsx";
import { Reported } from "../i18n/said.tsx";
import { AskSignIn } from "./answer.tsx";
import { Button } from "./button.tsx";

/** Say whether the page follows what happens. */
export const LiveSign = ({ live }: { live: Live & { again: () => void } }) => {
  const t = useT();
  const signIn = live.code === "UNAUTHENTICATED";
  return (
    <span className={`live ${live.state === "live" ? "live-now" : live.state}`} role="status">
      {t(`live.${live.state}`)}
      {live.message && (
        <span className="break"> {signIn ? t("answer.signIn") : <Reported text={live.message} />}</span>
      )}
      {signIn && <AskSignIn />}
      {live.state === "ended" && live.message && !signIn && <Button onClick={live.again}>{t("answer.again")}</Button>}
    </span>
  );
};
