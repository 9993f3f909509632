import { type SyntheticEvent, useState } from "react";

import { useT } from "../i18n/index.tsx";
import type { Permission } from "../session/session.ts";
import { signInFor, useViewer } from "../session/viewer.tsx";
import { type Outcome, signedIn } from "./act.tsx";
import { Failed } from "./answer.tsx";
import { Button } from "./button.tsx";
import { Dialog } from "./dialog.tsx";

export type Field = {
  name: string;
  label: string;
  required?: boolean;
  /** `long`: a text that may have several lines. */
  type?: "text" | "number" | "long";
  min?: number;
  max?: number;
  maxLength?: number;
  pattern?: string;
  value?: string;
  options?: readonly { value: string; label: string }[];
};

export type Given = Record<string, string>;

type Props = {
  permission: Permission;
  title: string;
  /** What will happen. */
  note?: string;
  /** Why it is not possible now. */
  refused?: string;
  fields: readonly Field[];
  run: (given: Given) => Promise<Outcome<unknown>>;
  done?: () => void;
};

/** A button that opens a form. What was typed stays until it has been accepted, also through a sign-in. */
export const FormDialog = ({ permission, title, note, refused: impossible, fields, run, done }: Props) => {
  const t = useT();
  const viewer = useViewer();
  const [open, setOpen] = useState(false);
  const [busy, setBusy] = useState(false);
  const [outcome, setOutcome] = useState<Outcome<unknown>>();
  const refused = viewer.mayAfterSignIn(permission) ? impossible : t("act.needs", { role: t(`role.${permission}`) });

  const begin = async () => {
    setOutcome(undefined);
    if (viewer.may(permission) || (await signInFor(permission))) setOpen(true);
  };
  const act = async (given: Given) => {
    setBusy(true);
    const result = await signedIn(() => run(given));
    setBusy(false);
    setOutcome(result);
    if ("data" in result) {
      setOpen(false);
      done?.();
    }
  };
  const submit = (event: SyntheticEvent<HTMLFormElement>) => {
    event.preventDefault();
    const entries = [...new FormData(event.currentTarget)];
    const textOf = (value: FormDataEntryValue) => (typeof value === "string" ? value.replaceAll("\r\n", "\n") : "");
    void act(Object.fromEntries(entries.map(([name, value]) => [name, textOf(value)])));
  };
  return (
    <>
      <Button refused={refused} onClick={() => void begin()}>
        {title}
      </Button>
      <Dialog open={open} onClose={() => setOpen(false)} title={title}>
        <form onSubmit={submit}>
          {note && <p className="what-happens">{note}</p>}
          {fields.map((field) => (
            <label key={field.name}>
              {field.label}
              <Box field={field} />
            </label>
          ))}
          {outcome && "failure" in outcome && <Failed failure={outcome.failure} />}
          <div className="row end">
            <Button onClick={() => setOpen(false)}>{t("act.cancel")}</Button>
            <Button kind="main" type="submit" busy={busy}>
              {title}
            </Button>
          </div>
        </form>
      </Dialog>
    </>
  );
};

const Box = ({ field: { name, required, options, value, type, maxLength, min, max, pattern } }: { field: Field }) => {
  const shared = { name, required, defaultValue: value };
  if (options) {
    return (
      <select {...shared}>
        {!required && <option value="">–</option>}
        {options.map((option) => (
          <option key={option.value} value={option.value}>
            {option.label}
          </option>
        ))}
      </select>
    );
  }
  if (type === "long") return <textarea {...shared} maxLength={maxLength} />;
  return <input {...shared} type={type} maxLength={maxLength} min={min} max={max} pattern={pattern} />;
};
