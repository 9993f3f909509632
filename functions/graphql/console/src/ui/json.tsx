import { useT } from "../i18n/index.tsx";
import { withWord } from "./erased.ts";

/** Show JSON as indented text, with the viewer's word for what was erased of a person. */
export const Json = ({ value }: { value: unknown }) => {
  const t = useT();
  return (
    <pre className="json" tabIndex={0}>
      {JSON.stringify(withWord(value, t("erased")), null, 2)}
    </pre>
  );
};
