import { useT } from "../i18n/index.tsx";
import type { Place } from "./cloud.ts";

/** A link to a page of Google Cloud, or what to type on a developer's machine; nothing where neither is known. */
export const Elsewhere = ({ place, of }: { place: Place | undefined; of: "logs" | "trace" }) => {
  const t = useT();
  if (!place) return null;
  if ("command" in place) {
    return (
      <span>
        {t(`elsewhere.${of}`)}: <code className="break">{place.command}</code>
      </span>
    );
  }
  return (
    <a className="button" href={place.href} target="_blank" rel="noreferrer">
      {t(`elsewhere.${of}`)}
    </a>
  );
};
