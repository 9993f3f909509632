export type Environment = "LOCAL" | "STAGING" | "PRODUCTION";

export type SignIn =
  | { kind: "local"; project: string }
  | { kind: "firebase"; apiKey: string; authDomain: string; google: boolean }
  | null;

/** Where logs and traces are, outside of the console. Both null: it is not known. */
export type Elsewhere = { cloudProject: string | null; logFolder: string | null };

/**
 * What the server tells before the console starts. `signInRequired`: false where everybody may do everything.
 * `traces`: the address of an order's spans, with {order} in it; empty where none is shown. `faultLab`: whether the
 * sandbox's providers may be broken here.
 */
export type Config = {
  environment: Environment;
  signIn: SignIn;
  signInRequired: boolean;
  traces: string;
  faultLab: boolean;
} & Elsewhere;

export const loadConfig = async (): Promise<Config> => {
  const response = await fetch("/console/config.json");
  if (!response.ok) throw new Error(`/console/config.json: HTTP ${response.status}`);
  return (await response.json()) as Config;
};
