import { useT } from "../i18n/index.tsx";
import { session } from "../session/session.ts";
import { useSession } from "../session/use-session.ts";
import { useViewer } from "../session/viewer.tsx";
import { Badge } from "../ui/badge.tsx";
import { Button } from "../ui/button.tsx";

/** Who is signed in and with which role, always visible. */
export const Person = () => {
  const t = useT();
  const { user, lapsed } = useSession();
  const { role } = useViewer();
  return (
    <span className="person">
      <span className="person-name">{user?.name ?? t(lapsed ? "person.lapsed" : "person.nobody")}</span>
      <span data-role={role}>
        <Badge tone={role === "ADMIN" ? "warn" : "info"}>{role ? t(`role.${role}`) : t("role.unknown")}</Badge>
      </span>
      {user ? (
        <Button onClick={() => void session.signOut()}>{t("person.out")}</Button>
      ) : (
        <Button
          refused={session.where.signIn ? undefined : t("person.noSignIn")}
          onClick={() => void session.ask()}
        >
          {t("person.in")}
        </Button>
      )}
    </span>
  );
};
