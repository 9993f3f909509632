import { useT } from "../i18n/index.tsx";
import { numberOf } from "./format.ts";

type Props = {
  /** What was asked for: at least one more than is shown. */
  of: readonly unknown[] | null | undefined;
  to: number;
  says: "list.cut" | "category.cut";
};

/** Say that only the first of what there is are shown. */
export const Cut = ({ of, to, says }: Props) => {
  const t = useT();
  return of && of.length > to && <p className="note">{t(says, { n: numberOf(to, t.language) })}</p>;
};
