import { useState } from "react";
import { Link } from "wouter";

import { graphql, type ResultOf } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { useLive } from "../api/use-live.ts";
import { useT } from "../i18n/index.tsx";
import { Answer } from "../ui/answer.tsx";
import { Button } from "../ui/button.tsx";
import { numberOf } from "../ui/format.ts";
import { Json } from "../ui/json.tsx";
import { LiveSign } from "../ui/live.tsx";
import { Table } from "../ui/table.tsx";
import { Ago, Time } from "../ui/time.tsx";
import { useUrl } from "../ui/use-url.ts";

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

const MESSAGES = graphql(`
  query Messages($topic: String) {
    pubsubMessages(topic: $topic, limit: 50) {
      id
      topic
      messageType
      payload
      timestamp
      sourceService
    }
  }
`);

const STREAM = graphql(`
  subscription MessageStream($topic: String) {
    pubsubStream(topic: $topic) {
      id
      topic
      messageType
      payload
      timestamp
      sourceService
    }
  }
`);

type Message = ResultOf<typeof STREAM>["pubsubStream"];

const KEPT = 200;

const Messages = () => {
  const t = useT();
  const [url, change] = useUrl();
  const topic = url.get("topic");
  const topics = useAsk(TOPICS, {}, { every: 5_000 });
  const isDead = topic?.endsWith(".dead") ?? false;
  const asked = useAsk(MESSAGES, { topic }, { pause: isDead });
  const [news, setNews] = useState<{ topic: string | null; messages: Message[] }>({ topic, messages: [] });
  const live = useLive(
    STREAM,
    { topic },
    ({ pubsubStream: message }) =>
      setNews((before) => ({
        topic,
        messages: [message, ...(before.topic === topic ? before.messages : [])].slice(0, KEPT),
      })),
    isDead,
  );
  const chosen = url.get("id");
  return (
    <>
      <div className="row between">
        <h1>{t("nav.messages")}</h1>
        <LiveSign live={live} />
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
                  <Button pressed={name === topic} onClick={() => change({ topic: name === topic ? undefined : name }, false)}>
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
            {({ pubsubMessages }) => {
              const fresh = news.topic === topic ? news.messages : [];
              const known = new Set(fresh.map(({ id }) => id));
              const all = [...fresh, ...(pubsubMessages ?? []).filter(({ id }) => !known.has(id))];
              const message = all.find(({ id }) => id === chosen);
              if (all.length === 0) return <p className="empty">{t("messages.none")}</p>;
              return (
                <div className="columns">
                  <Table
                    caption={t("messages.newest")}
                    rows={all}
                    keyOf={({ id }) => id}
                    columns={[
                      { name: t("time"), cell: ({ timestamp }) => <Time at={timestamp} precise /> },
                      {
                        name: t("messages.type"),
                        cell: ({ id, messageType }) => (
                          <Button pressed={id === chosen} onClick={() => change({ id: id === chosen ? undefined : id })}>
                            {messageType}
                          </Button>
                        ),
                      },
                      { name: t("messages.topic"), cell: (one) => one.topic },
                      { name: t("messages.from"), cell: ({ sourceService }) => sourceService ?? "" },
                    ]}
                  />
                  {message && (
                    <section className="panel" aria-live="polite">
                      <h3>{message.messageType}</h3>
                      <Json value={message.payload} />
                    </section>
                  )}
                </div>
              );
            }}
          </Answer>
        </>
      )}
    </>
  );
};

export default Messages;
