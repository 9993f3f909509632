import { type SyntheticEvent, useState } from "react";

import { useT } from "../i18n/index.tsx";
import { PEOPLE } from "../session/people.ts";
import { session } from "../session/session.ts";
import { useSession } from "../session/use-session.ts";
import { Button } from "../ui/button.tsx";
import { Dialog } from "../ui/dialog.tsx";

/** Ask who it is. Afterwards the page goes on with what made it ask. */
export const SignIn = () => {
  const t = useT();
  const { asking, needs, lapsed } = useSession();
  const { signIn } = session.where;
  return (
    <Dialog open={asking} onClose={() => asking && session.cancel()} title={t("signIn.title")}>
      {needs && <p>{t("act.needs", { role: t(`role.${needs}`) })}</p>}
      {lapsed && <p role="status">{t("signIn.lapsed")}</p>}
      {signIn?.kind === "local" ? <People /> : signIn ? <Firebase google={signIn.google} /> : <p>{t("person.noSignIn")}</p>}
      <div className="row end">
        <Button onClick={session.cancel}>{t("act.cancel")}</Button>
      </div>
    </Dialog>
  );
};

const People = () => {
  const t = useT();
  return (
    <>
      <p>{t("signIn.local")}</p>
      <ul className="people">
        {PEOPLE.map((person) => (
          <li key={person.id}>
            <button type="button" className="button plain" onClick={() => session.signInAs(person)}>
              <strong>{person.id}</strong> {t(`role.${person.role}`)}
            </button>
          </li>
        ))}
      </ul>
    </>
  );
};

const Firebase = ({ google }: { google: boolean }) => {
  const t = useT();
  const [problem, setProblem] = useState<string>();
  const [busy, setBusy] = useState(false);
  const attempt = async (how: () => Promise<void>) => {
    setBusy(true);
    setProblem(undefined);
    try {
      await how();
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    } finally {
      setBusy(false);
    }
  };
  const submit = (event: SyntheticEvent<HTMLFormElement>) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    const [email, password] = [given.get("email"), given.get("password")];
    if (typeof email === "string" && typeof password === "string") {
      void attempt(() => session.signInWithPassword(email, password));
    }
  };
  return (
    <form onSubmit={submit}>
      <label>
        {t("signIn.email")}
        <input name="email" type="email" autoComplete="username" required />
      </label>
      <label>
        {t("signIn.password")}
        <input name="password" type="password" autoComplete="current-password" required />
      </label>
      {problem && (
        <p className="failed" role="alert">
          {problem}
        </p>
      )}
      <div className="row">
        <Button type="submit" kind="main" busy={busy}>
          {t("person.in")}
        </Button>
        {google && (
          <Button busy={busy} onClick={() => void attempt(() => session.signInWithGoogle())}>
            {t("signIn.google")}
          </Button>
        )}
      </div>
    </form>
  );
};
