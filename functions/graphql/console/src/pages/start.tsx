import { graphql } from "../api/graphql.ts";
import { useT } from "../i18n/index.tsx";
import { ActButton, send } from "../ui/act.tsx";

const START = graphql(`
  mutation StartProjection($name: String!, $reason: String) {
    startProjection(name: $name, reason: $reason) {
      name
    }
  }
`);

/** Lets a stopped projection go on. */
export const StartButton = ({ name, done }: { name: string; done: () => void }) => {
  const t = useT();
  return (
    <ActButton
      permission="admin"
      kind="main"
      run={(reason) => send(START, { name, reason: reason || null })}
      done={done}
      confirm={{ title: t("lab.start.title", { name }), text: t("lab.start.what"), reason: "optional" }}
    >
      {t("lab.start")}
    </ActButton>
  );
};
