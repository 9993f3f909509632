/** The newest messages: those that the live stream brings, above those that were read when it began. */

type Identified = { id: string };

/**
 * `key`: of which user and topic. `messages`: from the live stream, the newest first. `fresh`: how many of them have
 * come since `begunAt`, when the stream began at the present (in milliseconds).
 */
export type News<Message> = { key: string; messages: readonly Message[]; fresh: number; begunAt: number };

const KEPT = 200;

export const noNews = (key: string): News<never> => ({ key, messages: [], fresh: 0, begunAt: 0 });

/** Return the news with more messages, given in the order in which they came. */
export const withMessages = <Message>(news: News<Message>, messages: readonly Message[]): News<Message> => ({
  ...news,
  messages: [...messages.toReversed(), ...news.messages].slice(0, KEPT),
  fresh: news.fresh + messages.length,
});

/** Return the news when the live stream begins at the present. */
export const begun = <Message>(news: News<Message>, now: number): News<Message> => ({
  ...news,
  fresh: 0,
  begunAt: now,
});

/** Return the messages to list: those read after the stream began replace the live ones from before it. */
export const listed = <Message extends Identified>(
  news: News<Message>,
  read: readonly Message[],
  readAt: number,
): readonly Message[] => {
  const above = readAt < news.begunAt ? news.messages : news.messages.slice(0, news.fresh);
  const known = new Set(above.map(({ id }) => id));
  return [...above, ...read.filter(({ id }) => !known.has(id))];
};
