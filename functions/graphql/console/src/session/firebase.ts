import { initializeApp } from "@firebase/app";
import {
  type Auth,
  browserLocalPersistence,
  browserPopupRedirectResolver,
  GoogleAuthProvider,
  initializeAuth,
  signInWithEmailAndPassword,
  signInWithPopup,
  signOut,
  type User as FirebaseUser,
} from "@firebase/auth";

import type { User } from "./session.ts";

let auth: Auth | undefined;

const started = (): Auth => {
  if (!auth) throw new Error("Firebase is not configured");
  return auth;
};

const named = (user: FirebaseUser): User => ({ id: user.uid, name: user.email ?? user.uid });

type Options = { apiKey: string; authDomain: string };

/** Start Firebase once. `onChange`: called with the user after each sign-in and sign-out, in any tab. */
export const configure = (options: Options, onChange: (user: User | undefined) => void): void => {
  if (auth) return;
  auth = initializeAuth(initializeApp(options), { persistence: browserLocalPersistence });
  auth.onAuthStateChanged((user) => onChange(user ? named(user) : undefined));
};

/** Return the user of an earlier visit. */
export const present = async (): Promise<User | undefined> => {
  await started().authStateReady();
  const user = started().currentUser;
  return user ? named(user) : undefined;
};

export const withPassword = async (email: string, password: string): Promise<User> =>
  named((await signInWithEmailAndPassword(started(), email, password)).user);

export const withGoogle = async (): Promise<User> =>
  named((await signInWithPopup(started(), new GoogleAuthProvider(), browserPopupRedirectResolver)).user);

/** Return the ID token; Firebase renews it before it expires. */
export const token = async (): Promise<string | undefined> => started().currentUser?.getIdToken();

export const out = (): Promise<void> => signOut(started());
