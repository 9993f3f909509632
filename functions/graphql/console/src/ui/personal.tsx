import type { ReactNode } from "react";

import { useT } from "../i18n/index.tsx";
import { ERASED } from "./erased.ts";

/** A personal value of an order, or the viewer's word for an erased one. `children`: how it is shown, if not as it is. */
export const Personal = ({ of, children }: { of: string; children?: ReactNode }) => {
  const t = useT();
  return of === ERASED ? <em>{t("erased")}</em> : (children ?? of);
};
