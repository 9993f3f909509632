import { useState } from "react";
import { Link } from "wouter";

import { graphql, type ResultOf } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { useLive } from "../api/use-live.ts";
import { useT } from "../i18n/index.tsx";
import { useSession } from "../session/use-session.ts";
import { Answer } from "../ui/answer.tsx";
import { Button } from "../ui/button.tsx";
import { numberOf } from "../ui/format.ts";
import { Json } from "../ui/json.tsx";
import { LiveSign } from "../ui/live.tsx";
import { justBefore } from "../ui/moments.ts";
import { Table } from "../ui/table.tsx";
import { Ago, Time } from "../ui/time.tsx";
import { useBatched } from "../ui/use-batched.ts";
import { useUrl } from "../ui/use-url.ts";
import { begun, listed, type News, noNews, withMessages } from "./message-list.ts";

const TOPICS = graphql(`
  query Topics {
    pubsubStats {
      topic
      messageCount
      messagesPerMinute
      lastMessageAt
    }
    systemTopology {
      serviceName
      messageQueueSize
      connections {
        targetService
        connectionType
      }
    }
  }
`);

const MESSAGE = graphql(`
  fragment ShownMessage on PubsubMessage {
    id
    topic
    messageType
    payload
    timestamp
    sourceService
  }
`);

/** The newest messages, or those after a moment. */
const MESSAGES = graphql(`
  query Messages($topic: String, $after: DateTime) {
    pubsubMessages(topic: $topic, afterTimestamp: $after, limit: 50) {
      ...ShownMessage
    }
  }
`, [MESSAGE]);

const STREAM = graphql(`
  subscription MessageStream($topic: String) {
    pubsubStream(topic: $topic) {
      ...ShownMessage
    }
  }
`, [MESSAGE]);

type Message = ResultOf<typeof MESSAGE>;

const Messages = () => {
  const t = useT();
  const [url, change] = useUrl();
  const topic = url.get("topic");
  const paused = url.has("paused");
  const { user, signOuts } = useSession();
  const key = `${user?.id ?? ""} ${signOuts} ${topic ?? ""}`;
  const topics = useAsk(TOPICS, {}, { every: 5_000 });
  const isDead = topic?.endsWith(".dead") ?? false;
  const asked = useAsk(MESSAGES, { topic }, { pause: isDead });
  const [known, setNews] = useState<News<Message>>(noNews(key));
  const news = known.key === key ? known : noNews(key);
  if (known !== news) setNews(news);
  const { add, flush } = useBatched<{ key: string; message: Message }>((items) =>
    setNews((before) => withMessages(before, items.flatMap((one) => (one.key === before.key ? [one.message] : [])))),
  );
  const live = useLive(STREAM, { topic }, ({ pubsubStream: message }) => add({ key, message }), {
    pause: isDead || paused,
    onBegin: () => {
      flush();
      setNews((before) => begun(before, Date.now()));
      asked.again();
    },
  });
  const all = asked.data ? listed(news, asked.data.pubsubMessages ?? [], asked.at?.getTime() ?? 0) : [];
  const chosen = url.get("id");
  const found = all.find(({ id }) => id === chosen);
  // Newer messages may push the chosen one out of the list: its time, in the address too, is where it is found.
  const after = justBefore(url.get("at"));
  const alone = useAsk(MESSAGES, { topic, after }, { pause: isDead || chosen === null || after === null });
  const message = found ?? alone.data?.pubsubMessages?.find(({ id }) => id === chosen);
  return (
    <>
      <div className="row between">
        <h1>{t("nav.messages")}</h1>
        <span className="row center">
          <LiveSign live={live} />
          {!isDead && (
            <Button pressed={paused} onClick={() => change({ paused: paused ? undefined : "1" })}>
              {t(paused ? "live.resume" : "live.pause")}
            </Button>
          )}
        </span>
      </div>
      <Answer asked={topics}>
        {({ pubsubStats, systemTopology }) => (
          <Table
            caption={t("messages.topics")}
            rows={pubsubStats ?? []}
            keyOf={({ topic }) => topic}
            columns={[
              {
                name: t("messages.topic"),
                cell: ({ topic: name }) => (
                  <Button
                    pressed={name === topic}
                    onClick={() =>
                      change({ topic: name === topic ? undefined : name, id: undefined, at: undefined }, false)
                    }
                  >
                    {name}
                  </Button>
                ),
              },
              {
                name: t("messages.perMinute"),
                number: true,
                cell: (one) => numberOf(one.messagesPerMinute, t.language),
              },
              { name: t("messages.total"), number: true, cell: (one) => numberOf(one.messageCount, t.language) },
              {
                name: t("messages.backlog"),
                number: true,
                cell: ({ topic: name }) => {
                  const readers = systemTopology?.filter(({ connections }) =>
                    connections.some(
                      (one) => one.connectionType === "SUBSCRIPTION" && one.targetService === name,
                    ),
                  );
                  const known = readers?.flatMap(({ messageQueueSize: size }) => (size === null ? [] : [size])) ?? [];
                  return known.length > 0 ? numberOf(Math.max(...known), t.language) : t("unknown");
                },
              },
              {
                name: t("messages.last"),
                cell: ({ lastMessageAt }) => (lastMessageAt ? <Ago at={lastMessageAt} /> : "–"),
              },
            ]}
          />
        )}
      </Answer>
      {isDead ? (
        <p>
          <Link href="/dead-letters">{t("nav.deadLetters")}</Link>
        </p>
      ) : (
        <>
          <h2>{topic ?? t("messages.newest")}</h2>
          <Answer asked={asked} isEmpty={() => false}>
            {() =>
              all.length === 0 ? (
                <p className="empty">{t("messages.none")}</p>
              ) : (
                <div className="columns">
                  <Table
                    caption={t("messages.newest")}
                    rows={all}
                    keyOf={({ id }) => id}
                    columns={[
                      { name: t("time"), cell: ({ timestamp }) => <Time at={timestamp} precise /> },
                      {
                        name: t("messages.type"),
                        cell: ({ id, messageType, timestamp }) => (
                          <Button
                            pressed={id === chosen}
                            onClick={() => change(id === chosen ? { id: undefined, at: undefined } : { id, at: timestamp })}
                          >
                            {messageType}
                          </Button>
                        ),
                      },
                      { name: t("messages.topic"), cell: (one) => one.topic },
                      { name: t("messages.from"), cell: ({ sourceService }) => sourceService ?? "" },
                    ]}
                  />
                  {chosen !== null && (
                    <section className="panel" aria-live="polite">
                      {message ? (
                        <>
                          <h3>
                            {message.messageType}{" "}
                            <small>
                              <Time at={message.timestamp} precise />
                            </small>
                          </h3>
                          <Json value={message.payload} />
                        </>
                      ) : after === null ? (
                        <p className="note">{t("messages.notListed")}</p>
                      ) : (
                        <Answer asked={alone}>{() => <p className="note">{t("messages.gone")}</p>}</Answer>
                      )}
                    </section>
                  )}
                </div>
              )
            }
          </Answer>
        </>
      )}
    </>
  );
};

export default Messages;
