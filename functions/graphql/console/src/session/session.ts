import type { Config } from "./config.ts";
import { localToken, PEOPLE, type Person, TOKEN_SECONDS } from "./people.ts";

export type Permission = "write" | "admin";

export type Role = "READER" | "WRITER" | "ADMIN";

export type User = { id: string; name: string };

/**
 * `asking`: the sign-in dialog is open. `needs`: the role that what was asked for needs. `signOuts`: how often somebody
 * has signed out here. `lapsed`: the server no longer takes the token of the person who was signed in.
 */
export type SessionState = { user?: User; asking: boolean; needs?: Permission; signOuts: number; lapsed: boolean };

const STORED = "console.person";
const RENEW_BEFORE_MS = 60_000;

type Firebase = typeof import("./firebase.ts");

/**
 * Return the session after a change of Firebase's user, which another tab may have made. A change to another user
 * counts as a sign-out, so that pages drop the answers of the one before. A session without a user stays without.
 */
export const followed = (state: SessionState, user: User | undefined): SessionState =>
  !state.user || state.user.id === user?.id ? state : { ...state, user, signOuts: state.signOuts + 1, lapsed: false };

/** Who uses the console. It knows no role: the server says which one a token has. */
class Session {
  private config: Config = {
    environment: "LOCAL",
    signIn: null,
    signInRequired: true,
    traces: "",
    faultLab: false,
    cloudProject: null,
    logFolder: null,
  };
  private state: SessionState = { asking: false, signOuts: 0, lapsed: false };
  private listeners = new Set<() => void>();
  private person?: Person;
  private made?: { token: string; until: number };
  private firebase?: Firebase;
  private waiting?: (signedIn: boolean) => void;

  async start(config: Config): Promise<void> {
    this.config = config;
    if (config.signIn?.kind === "local") {
      const stored = PEOPLE.find(({ id }) => id === localStorage.getItem(STORED));
      if (stored) this.signInAs(stored);
    } else if (config.signIn?.kind === "firebase" && localStorage.getItem(STORED)) {
      const firebase = await this.loadFirebase();
      const user = await firebase.present();
      if (user) this.change({ user });
    }
  }

  get now(): SessionState {
    return this.state;
  }

  get where(): Config {
    return this.config;
  }

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Return an ID token that is valid for at least a minute, or none without sign-in. */
  async token(): Promise<string | undefined> {
    const { signIn } = this.config;
    if (this.person && signIn?.kind === "local") {
      if (!this.made || this.made.until - Date.now() < RENEW_BEFORE_MS) {
        const token = localToken(this.person, signIn.project, Date.now());
        this.made = { token, until: Date.now() + TOKEN_SECONDS * 1000 };
      }
      return this.made.token;
    }
    return this.state.user && this.firebase?.token();
  }

  /** Open the sign-in dialog. The promise tells whether somebody has signed in when it closes. `needs`: the role. */
  ask = (needs?: Permission): Promise<boolean> => {
    this.change({ asking: true, needs });
    return new Promise((resolve) => {
      this.waiting?.(false);
      this.waiting = resolve;
    });
  };

  cancel = (): void => {
    this.change({ asking: false });
    this.settle(false);
  };

  signInAs(person: Person): void {
    this.person = person;
    this.made = undefined;
    localStorage.setItem(STORED, person.id);
    this.signedIn({ id: person.id, name: person.id });
  }

  async signInWithPassword(email: string, password: string): Promise<void> {
    this.signedIn(await (await this.loadFirebase()).withPassword(email, password));
  }

  async signInWithGoogle(): Promise<void> {
    this.signedIn(await (await this.loadFirebase()).withGoogle());
  }

  async signOut(): Promise<void> {
    localStorage.removeItem(STORED);
    this.person = undefined;
    this.made = undefined;
    await this.firebase?.out();
    this.change(followed(this.state, undefined));
  }

  /** Ask who it is again, because the server has refused this token. What the page shows stays until it is asked anew. */
  async lapse(token: string): Promise<void> {
    if (token !== (await this.token())) return;
    localStorage.removeItem(STORED);
    this.person = undefined;
    this.made = undefined;
    this.change({ user: undefined, lapsed: true, asking: true, needs: undefined });
  }

  private signedIn(user: User): void {
    localStorage.setItem(STORED, user.id);
    this.change({ user, asking: false, lapsed: false });
    this.settle(true);
  }

  private settle(signedIn: boolean): void {
    this.waiting?.(signedIn);
    this.waiting = undefined;
  }

  private async loadFirebase(): Promise<Firebase> {
    this.firebase ??= await import("./firebase.ts");
    if (this.config.signIn?.kind === "firebase") {
      this.firebase.configure(this.config.signIn, (user) => this.change(followed(this.state, user)));
    }
    return this.firebase;
  }

  private change(changes: Partial<SessionState>): void {
    this.state = { ...this.state, ...changes };
    for (const listener of this.listeners) listener();
  }
}

export const session = new Session();
