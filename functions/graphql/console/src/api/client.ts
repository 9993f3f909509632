import type { TadaDocumentNode } from "gql.tada";
import { type AnyVariables, Client, createRequest, fetchExchange, type OperationResult } from "urql";

import { session } from "../session/session.ts";

const KEPT_MS = 10_000;

/** The consistency tokens of the last mutations: the queries after them wait for what they wrote. */
let written: { token: string; at: number }[] = [];

const headersOf = async (): Promise<Record<string, string>> => {
  written = written.filter(({ at }) => Date.now() - at < KEPT_MS);
  const token = await session.token();
  return {
    ...(token && { Authorization: `Bearer ${token}` }),
    ...(written.length > 0 && { Consistency: written.map(({ token }) => token).join(",") }),
  };
};

/** Ask for sign-in again when the server says that the token of this request is not valid. */
export const seeWhoItIs = (response: Response, sent: Headers): void => {
  const token = sent.get("Authorization")?.replace("Bearer ", "");
  if (token && response.headers.get("WWW-Authenticate")?.includes("invalid_token")) void session.lapse(token);
};

const send: typeof fetch = async (input, init) => {
  const headers = new Headers(init?.headers);
  for (const [name, value] of Object.entries(await headersOf())) headers.set(name, value);
  const response = await fetch(input, { ...init, headers });
  seeWhoItIs(response, headers);
  const token = response.headers.get("Consistency");
  if (token) written = [...written, { token, at: Date.now() }].slice(-20);
  return response;
};

/** Nothing is cached: a page shows what the server answers now, or says that it did not answer. */
export const client = new Client({
  url: "/graphql",
  exchanges: [fetchExchange],
  fetch: send,
  preferGetMethod: false,
});

let asked = 0;

/**
 * Send a query as a request of its own. `client.query` joins a query with an equal one under way, and so may return an
 * answer from before a change, or one for another person. urql's own keys are hashes, which are never negative.
 */
export const ask = <Data, Variables extends AnyVariables>(
  document: TadaDocumentNode<Data, Variables>,
  variables: Variables,
): Promise<OperationResult<Data, Variables>> =>
  client.executeQuery({ ...createRequest(document, variables), key: --asked }).toPromise();

/** Return the headers of a subscription. */
export const liveHeaders = async (): Promise<Record<string, string>> => {
  const token = await session.token();
  return token ? { Authorization: `Bearer ${token}` } : {};
};
