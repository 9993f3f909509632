import type { Role } from "./session.ts";

export type Person = { id: string; email: string; role: Role };

/** The people of a developer's machine. */
export const PEOPLE: readonly Person[] = [
  { id: "taro", email: "taro@example.com", role: "READER" },
  { id: "hanako", email: "hanako@example.com", role: "WRITER" },
  { id: "jiro", email: "jiro@example.com", role: "WRITER" },
  { id: "admin", email: "admin@example.com", role: "ADMIN" },
];

export const TOKEN_SECONDS = 3600;

const encoded = (part: object): string => {
  const bytes = new TextEncoder().encode(JSON.stringify(part));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
};

/** Return an ID token as Firebase's Auth emulator makes it: unsigned, so only a developer's machine accepts it. */
export const localToken = (person: Person, project: string, now: number): string => {
  const seconds = Math.floor(now / 1000);
  const claims = {
    iss: `https://securetoken.google.com/${project}`,
    aud: project,
    sub: person.id,
    user_id: person.id,
    iat: seconds,
    auth_time: seconds,
    exp: seconds + TOKEN_SECONDS,
    email: person.email,
    email_verified: true,
    role: person.role.toLowerCase(),
    firebase: { sign_in_provider: "google.com", identities: { email: [person.email] } },
  };
  return `${encoded({ alg: "none", typ: "JWT" })}.${encoded(claims)}.`;
};
