import { type ReactNode, useEffect, useState } from "react";

import { useT } from "../i18n/index.tsx";
import { localOf, momentIn, utcOf } from "./moments.ts";
import { shownFor } from "./typed.ts";
import { useUrl } from "./use-url.ts";

const WAIT_MS = 400;

/** Every filter is a parameter of the address; changing one begins at the first page again. */
export const Choice = ({ name, label, options }: { name: string; label: string; options: readonly string[] }) => {
  const t = useT();
  const [url, change] = useUrl();
  return (
    <label>
      {label}
      <select
        value={url.get(name) ?? ""}
        onChange={(event) => change({ [name]: event.target.value, after: undefined, before: undefined }, false)}
      >
        <option value="">{t("filter.all")}</option>
        {options.map((option) => (
          <option key={option} value={option}>
            {t.status(option)}
          </option>
        ))}
      </select>
    </label>
  );
};

export const TextFilter = ({ name, label, hint }: { name: string; label: string; hint?: string }) => {
  const [url, change] = useUrl();
  const given = url.get(name) ?? "";
  const [typed, setTyped] = useState(given);
  useEffect(() => {
    setTyped((before) => shownFor(before, given));
  }, [given]);
  useEffect(() => {
    const value = typed.trim();
    if (value === given) return;
    const timer = setTimeout(() => change({ [name]: value, after: undefined, before: undefined }), WAIT_MS);
    return () => clearTimeout(timer);
  }, [typed, given, name, change]);
  return (
    <label>
      {label}
      <input value={typed} placeholder={hint} onChange={(event) => setTyped(event.target.value)} />
    </label>
  );
};

/** A moment, typed in the viewer's time zone and kept in UTC. What the address gives instead of one is told, and ignored. */
export const MomentFilter = ({ name, label }: { name: string; label: string }) => {
  const t = useT();
  const [url, change] = useUrl();
  const given = url.get(name);
  const at = momentIn(given);
  return (
    <label>
      {label}
      <input
        type="datetime-local"
        step="1"
        value={at ? localOf(at) : ""}
        onChange={(event) => change({ [name]: utcOf(event.target.value), after: undefined, before: undefined })}
      />
      {given !== null && at === null && <small role="status">{t("filter.noMoment", { given })}</small>}
    </label>
  );
};

export const Filters = ({ children }: { children: ReactNode }) => {
  const t = useT();
  return (
    <div className="filters" role="group" aria-label={t("filter.title")}>
      {children}
    </div>
  );
};
