import { createContext, type ReactNode, useContext } from "react";

import { graphql } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { type Role, session } from "./session.ts";
import { useSession } from "./use-session.ts";

export type Permission = "write" | "admin";

/** What the server allows the person. `role`: unknown until it has answered. */
export type Viewer = {
  role?: Role;
  may: (permission: Permission) => boolean;
  /** Return true when it is allowed, or might be for somebody who signs in. */
  mayAfterSignIn: (permission: Permission) => boolean;
};

const ALLOWS: Record<Role, readonly Permission[]> = { READER: [], WRITER: ["write"], ADMIN: ["write", "admin"] };

const NOBODY: Viewer = { may: () => false, mayAfterSignIn: () => true };

const Context = createContext<Viewer>(NOBODY);

export const useViewer = (): Viewer => useContext(Context);

const VIEWER = graphql(`
  query Viewer {
    viewer {
      uid
      role
    }
  }
`);

const isRole = (text: string | undefined): text is Role => text !== undefined && text in ALLOWS;

export const ViewerProvider = ({ children }: { children: ReactNode }) => {
  const { user } = useSession();
  const asked = useAsk(VIEWER, {});
  const said = asked.data?.viewer?.role.toUpperCase();
  const role = isRole(said) ? said : undefined;
  const may = (permission: Permission) => role !== undefined && ALLOWS[role].includes(permission);
  const canSignIn = !user && session.where.signIn !== null;
  const viewer: Viewer = { role, may, mayAfterSignIn: (permission) => may(permission) || canSignIn };
  return <Context value={viewer}>{children}</Context>;
};
