import { type ReactNode, useEffect, useState } from "react";

import { useT } from "../i18n/index.tsx";
import { ago, briefOf, dayAndClockOf, preciseOf, utcOf } from "./format.ts";

/** A moment: what hovering shows, a tap or click writes beside it, and a second one takes away. */
const Moment = ({ at, more, children }: { at: string; more: string; children: ReactNode }) => {
  const [open, setOpen] = useState(false);
  return (
    <time dateTime={at} title={more} onClick={() => setOpen(!open)}>
      {children}
      {open && <small> ({more})</small>}
    </time>
  );
};

type Form = {
  at: string;
  /** To the millisecond, with the day unless it is today. */
  precise?: boolean;
  /** To the second, with the day unless it is today. */
  brief?: boolean;
};

/** Show a moment in the viewer's time zone, and in UTC on hover or tap. */
export const Time = ({ at, precise = false, brief = false }: Form) => {
  const { language } = useT();
  const write = precise ? preciseOf : brief ? briefOf : dayAndClockOf;
  return (
    <Moment at={at} more={utcOf(at)}>
      {write(at, new Date(), language)}
    </Moment>
  );
};

/** Show a moment to the millisecond, in the viewer's time zone and in UTC: for details. */
export const FullTime = ({ at }: { at: string }) => {
  const { language } = useT();
  return (
    <time dateTime={at}>
      {preciseOf(at, new Date(), language)} <small>({utcOf(at)})</small>
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
    <Moment at={at} more={`${dayAndClockOf(at, new Date(now), language)} · ${utcOf(at)}`}>
      {ago(at, Math.max(now, Date.parse(at)), language)}
    </Moment>
  );
};
