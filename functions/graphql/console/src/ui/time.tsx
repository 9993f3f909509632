import { useEffect, useState } from "react";

import { useT } from "../i18n/index.tsx";
import { ago, briefOf, clockOf, dayAndClockOf } from "./format.ts";

const utc = (at: string): string => `${new Date(at).toISOString().replace("T", " ").replace("Z", "")} UTC`;

/** Show a moment in the viewer's time zone, and in UTC on hover. `brief`: without the day if it is today. */
export const Time = ({ at, precise = false, brief = false }: { at: string; precise?: boolean; brief?: boolean }) => {
  const { language } = useT();
  const plain = brief ? briefOf(at, new Date(), language) : dayAndClockOf(at, language);
  return (
    <time dateTime={at} title={utc(at)}>
      {precise ? clockOf(at, language) : plain}
    </time>
  );
};

/** Show how long ago a moment was; it keeps itself up to date. */
export const Ago = ({ at }: { at: string }) => {
  const { language } = useT();
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 5_000);
    return () => clearInterval(timer);
  }, []);
  return (
    <time dateTime={at} title={`${dayAndClockOf(at, language)} · ${utc(at)}`}>
      {ago(at, Math.max(now, Date.parse(at)), language)}
    </time>
  );
};
