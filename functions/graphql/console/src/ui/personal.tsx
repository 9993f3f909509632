import { useT } from "../i18n/index.tsx";

/** What the server shows in place of a user's id to all but that user and admins. */
export const MASKED = "***";
/** What the server shows in place of every personal value of an erased person. */
export const ERASED = "erased";

/** A personal value of an order, or the viewer's word for an erased one. */
export const Personal = ({ of }: { of: string }) => {
  const t = useT();
  return of === ERASED ? <em>{t("erased")}</em> : of;
};
