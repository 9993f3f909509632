import { type ReactNode, useEffect, useState } from "react";

import { useT } from "../i18n/index.tsx";
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
          <option key={option}>{option}</option>
        ))}
      </select>
    </label>
  );
};

export const TextFilter = ({ name, label, hint }: { name: string; label: string; hint?: string }) => {
  const [url, change] = useUrl();
  const given = url.get(name) ?? "";
  const [typed, setTyped] = useState(given);
  useEffect(() => setTyped(given), [given]);
  useEffect(() => {
    if (typed === given) return;
    const timer = setTimeout(
      () => change({ [name]: typed.trim(), after: undefined, before: undefined }),
      WAIT_MS,
    );
    return () => clearTimeout(timer);
  }, [typed, given, name, change]);
  return (
    <label>
      {label}
      <input value={typed} placeholder={hint} onChange={(event) => setTyped(event.target.value)} />
    </label>
  );
};

const local = (at: string): string => {
  const moment = new Date(at);
  return new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
};

/** A moment, typed in the viewer's time zone and kept in UTC. */
export const MomentFilter = ({ name, label }: { name: string; label: string }) => {
  const [url, change] = useUrl();
  const given = url.get(name);
  return (
    <label>
      {label}
      <input
        type="datetime-local"
        step="1"
        value={given ? local(given) : ""}
        onChange={(event) => {
          const at = event.target.value ? new Date(event.target.value).toISOString() : undefined;
          change({ [name]: at, after: undefined, before: undefined });
        }}
      />
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
