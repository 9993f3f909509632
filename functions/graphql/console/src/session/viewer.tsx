import { createContext, type ReactNode, useContext } from "react";

import { ask } from "../api/client.ts";
import { graphql } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { type Permission, type Role, session } from "./session.ts";
import { useSession } from "./use-session.ts";

/** What the server allows the person. `role`, `uid`: unknown until it has answered. */
export type Viewer = {
  role?: Role;
  uid?: string;
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

const roleOf = (said: string | undefined): Role | undefined => {
  const role = said?.toUpperCase();
  return isRole(role) ? role : undefined;
};

/**
 * Ask for sign-in, and return whether the person may then do what needs the permission: the button says so otherwise.
 * When the server does not say the role, it decides when the action is sent.
 */
export const signInFor = async (permission: Permission): Promise<boolean> => {
  if (!(await session.ask(permission))) return false;
  const { data } = await ask(VIEWER, {});
  const role = roleOf(data?.viewer?.role);
  return role === undefined || ALLOWS[role].includes(permission);
};

export const ViewerProvider = ({ children }: { children: ReactNode }) => {
  const { user } = useSession();
  const asked = useAsk(VIEWER, {});
  const role = roleOf(asked.data?.viewer?.role);
  const uid = asked.data?.viewer?.uid ?? undefined;
  const may = (permission: Permission) => role !== undefined && ALLOWS[role].includes(permission);
  const canSignIn = !user && session.where.signIn !== null;
  const viewer: Viewer = { role, uid, may, mayAfterSignIn: (permission) => may(permission) || canSignIn };
  return <Context value={viewer}>{children}</Context>;
};
