import { type KeyboardEvent, type SyntheticEvent, useEffect, useRef, useState } from "react";
import { useLocation } from "wouter";

import type { Failure } from "../api/failure.ts";
import { useT } from "../i18n/index.tsx";
import { session } from "../session/session.ts";
import { useSession } from "../session/use-session.ts";
import { useViewer } from "../session/viewer.tsx";
import { AskSignIn, Failed } from "../ui/answer.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { useShown } from "../ui/use-shown.ts";
import { type Answer, find, RECENT_ORDERS, SearchFailed } from "./find.ts";
import { pagesOf } from "./pages.ts";

const WAIT_MS = 200;
const NOTHING: Answer = { found: [], masked: false };

/** One box for any id or name, and for every page. */
export const Palette = ({ open, onClose }: { open: boolean; onClose: () => void }) => {
  const t = useT();
  return (
    <Dialog open={open} onClose={onClose} title={t("palette.title")} wide>
      <Search onClose={onClose} />
    </Dialog>
  );
};

type Choice = { href: string; label: string; what: string };

const Search = ({ onClose }: { onClose: () => void }) => {
  const t = useT();
  const [, navigate] = useLocation();
  const [text, setText] = useState("");
  const [found, setFound] = useState<{ of: string } & (Answer | { failure: Failure })>({ of: "", ...NOTHING });
  const [chosen, setChosen] = useState(0);
  const { user } = useSession();
  const { uid, may } = useViewer();
  const admin = may("admin");
  const box = useRef<HTMLInputElement>(null);

  useEffect(() => {
    box.current?.focus();
  }, []);
  useEffect(() => {
    let current = true;
    const timer = setTimeout(() => {
      find(text, (userId) => admin || userId === uid).then(
        (answer) => {
          if (current) setFound({ of: text, ...answer });
        },
        (error: unknown) => {
          const failure =
            error instanceof SearchFailed ? error.failure : { code: "UNKNOWN", message: String(error) };
          if (current) setFound({ of: text, failure });
        },
      );
    }, WAIT_MS);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [text, user, admin, uid]);

  const typed = text.trim().toLowerCase();
  const pages: Choice[] = pagesOf(session.where)
    .map(({ path, name }) => ({ href: path, label: t(name), what: t("palette.page") }))
    .filter(({ label, href }) => label.toLowerCase().includes(typed) || href.includes(typed));
  const answer = "failure" in found ? NOTHING : found;
  const results: Choice[] = answer.found.map(({ href, label, what }) => ({ href, label, what: t(`palette.${what}`) }));
  const choices = found.of === text ? [...results, ...pages] : pages;
  const at = Math.min(chosen, Math.max(0, choices.length - 1));
  const shown = useShown<HTMLLIElement>(at);

  const go = (choice: Choice | undefined) => {
    if (!choice) return;
    onClose();
    navigate(choice.href);
  };
  const onKey = (event: KeyboardEvent) => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step === 0) return;
    event.preventDefault();
    setChosen(Math.min(Math.max(at + step, 0), choices.length - 1));
  };
  const submit = (event: SyntheticEvent) => {
    event.preventDefault();
    go(choices[at]);
  };
  return (
    <form onSubmit={submit}>
      <input
        ref={box}
        className="palette-box"
        role="combobox"
        aria-expanded="true"
        aria-controls="palette-results"
        aria-activedescendant={choices.length > 0 ? `palette-${at}` : undefined}
        aria-label={t("palette.title")}
        placeholder={t("palette.hint")}
        value={text}
        onChange={(event) => {
          setText(event.target.value);
          setChosen(0);
        }}
        onKeyDown={onKey}
      />
      <ul id="palette-results" role="listbox" aria-label={t("palette.results")} className="palette-results">
        {choices.map((choice, index) => (
          <li
            key={`${choice.what} ${choice.href}`}
            ref={index === at ? shown : undefined}
            id={`palette-${index}`}
            role="option"
            aria-selected={index === at}
            onClick={() => go(choice)}
          >
            <span>{choice.label}</span> <small>{choice.what}</small>
          </li>
        ))}
      </ul>
      {found.of === text && "failure" in found && <Failed failure={found.failure} />}
      {found.of === text && answer.masked && (
        <div className="note">
          {t("palette.admins")} <AskSignIn />
        </div>
      )}
      {found.of === text && answer.recent && <p className="note">{t("palette.recent", { n: RECENT_ORDERS })}</p>}
      {choices.length === 0 && !("failure" in found) && (
        <p role="status">{t(found.of === text ? "palette.nothing" : "answer.loading")}</p>
      )}
    </form>
  );
};
