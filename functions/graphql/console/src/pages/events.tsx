import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useRef, useState } from "react";
import { Link } from "wouter";

import { client } from "../api/client.ts";
import { type Failure, failureOf } from "../api/failure.ts";
import { graphql, type ResultOf } from "../api/graphql.ts";
import { type Asked, useAsk } from "../api/use-ask.ts";
import { useLive } from "../api/use-live.ts";
import { useT } from "../i18n/index.tsx";
import { useSession } from "../session/use-session.ts";
import { Failed } from "../ui/answer.tsx";
import { Button } from "../ui/button.tsx";
import { Choice, Filters, MomentFilter, TextFilter } from "../ui/filters.tsx";
import { Json } from "../ui/json.tsx";
import { numberOf, shortId } from "../ui/format.ts";
import { LiveSign } from "../ui/live.tsx";
import { Request } from "../ui/request.tsx";
import { Time } from "../ui/time.tsx";
import { useShown } from "../ui/use-shown.ts";
import { useUrl } from "../ui/use-url.ts";

const PAGE = graphql(`
  query EventsPage($after: String, $filter: EventFilterInput) {
    eventsConnection(first: 200, after: $after, filter: $filter, sortOrder: DESC) {
      totalCount
      pageInfo {
        hasNextPage
        endCursor
      }
      edges {
        node {
          id
          aggregateId
          aggregateType
          eventType
          eventVersion
          eventData
          metadata
          insertedAt
        }
      }
    }
  }
`);

const ONE = graphql(`
  query OneEvent($after: Int!) {
    events(afterId: $after, limit: 1) {
      id
      aggregateId
      aggregateType
      eventType
      eventVersion
      eventData
      metadata
      insertedAt
    }
  }
`);

const STREAM = graphql(`
  subscription EventStream($aggregateType: String, $eventType: String) {
    eventStream(aggregateType: $aggregateType, eventType: $eventType) {
      id
      aggregateId
      aggregateType
      eventType
      eventVersion
      eventData
      metadata
      insertedAt
    }
  }
`);

type LoggedEvent = ResultOf<typeof STREAM>["eventStream"];

/** Return the event's number; for what is none, one that no event has. */
const numberIn = (text: string | null): number => {
  const number = Number(text);
  return Number.isSafeInteger(number) && number > 0 ? number : Number.MAX_SAFE_INTEGER;
};

const TYPES = ["category", "product", "order"];
const ROW = 36;
/** The newest that a tab keeps while it follows the log. */
const KEPT = 100_000;

type Page = { key: string; events: LoggedEvent[]; next?: string; total?: number; failure?: Failure; loading: boolean };

const Events = () => {
  const t = useT();
  const [url, change] = useUrl();
  const { user } = useSession();
  const filter = {
    aggregateType: url.get("type"),
    eventType: url.get("event"),
    aggregateId: url.get("aggregate"),
    correlationId: url.get("correlation"),
    causationId: url.get("causation"),
    traceId: url.get("trace"),
    recordedAfter: url.get("from"),
    recordedBefore: url.get("to"),
  };
  const { aggregateType, eventType, ...others } = filter;
  const narrow = Object.values(others).find((one) => one !== null) ?? null;
  const paused = url.has("paused") || narrow !== null;
  const key = `${user?.id ?? ""} ${JSON.stringify(filter)}`;
  const [page, setPage] = useState<Page>({ key: "", events: [], loading: true });

  const load = async (after?: string) => {
    setPage((before) => (before.key === key ? { ...before, loading: true } : { key, events: [], loading: true }));
    const { data, error } = await client.query(PAGE, { after: after ?? null, filter }).toPromise();
    const found = data?.eventsConnection;
    setPage((before) => {
      if (before.key !== key) return before;
      if (!found) return { ...before, loading: false, failure: error && failureOf(error) };
      const events = merged(before.events, found.edges.map(({ node }) => node));
      const end = found.pageInfo.hasNextPage ? (found.pageInfo.endCursor ?? undefined) : undefined;
      const next = after === undefined && before.next ? before.next : end;
      return { key, events, next, total: found.totalCount ?? undefined, loading: false };
    });
  };
  useEffect(() => {
    void load();
    // The key stands for the filter.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [key]);

  const live = useLive(
    STREAM,
    { aggregateType, eventType },
    ({ eventStream: event }) => {
      setPage((before) =>
        before.key !== key || before.events.some(({ id }, index) => index < 500 && id === event.id)
          ? before
          : { ...before, events: [event, ...before.events].slice(0, KEPT) },
      );
    },
    paused,
  );
  // What was recorded between the first page and the beginning of the stream.
  const follows = live.state === "live";
  useEffect(() => {
    if (follows) void load();
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [follows, key]);
  const wanted = url.get("id");
  const listed = page.events.find(({ id }) => String(id) === wanted);
  const alone = useAsk(ONE, { after: numberIn(wanted) - 1 }, { pause: wanted === null || listed !== undefined });
  const chosen = listed ?? alone.data?.events?.find(({ id }) => String(id) === wanted);
  return (
    <>
      <div className="row between">
        <h1>{t("nav.events")}</h1>
        <span className="row center">
          <LiveSign live={live} />
          {narrow === null && (
            <Button pressed={paused} onClick={() => change({ paused: paused ? undefined : "1" })}>
              {t(paused ? "live.resume" : "live.pause")}
            </Button>
          )}
        </span>
      </div>
      <Filters>
        <Choice name="type" label={t("events.aggregateType")} options={TYPES} />
        <TextFilter name="event" label={t("events.type")} hint="OrderCreated" />
        <TextFilter name="aggregate" label={t("events.aggregate")} hint={t("filter.id")} />
        <TextFilter name="correlation" label={t("events.correlation")} hint={t("filter.id")} />
        <TextFilter name="causation" label={t("events.causation")} hint={t("filter.id")} />
        <TextFilter name="trace" label={t("events.trace")} hint={t("filter.trace")} />
        <MomentFilter name="from" label={t("filter.from")} />
        <MomentFilter name="to" label={t("filter.to")} />
      </Filters>
      {page.failure && <Failed failure={page.failure} again={() => void load(page.next)} />}
      {page.total !== undefined && (
        <p className="note">{t("events.shown", { n: numberOf(page.events.length, t.language), of: numberOf(Math.max(page.total, page.events.length), t.language) })}</p>
      )}
      {page.key === key && page.events.length > 0 ? (
        <Rows events={page.events} chosen={url.get("id")} more={page.next ? () => void load(page.next) : undefined} />
      ) : page.loading ? (
        <p className="loading" role="status">
          {t("answer.loading")}
        </p>
      ) : (
        !page.failure && <p className="empty">{t("events.none")}</p>
      )}
      {chosen && <Chosen event={chosen} />}
      {wanted !== null && !chosen && <Missing number={wanted} asked={alone} />}
    </>
  );
};

/** Say that the event of the address is on its way, is not there, or could not be read. */
const Missing = ({ number, asked }: { number: string; asked: Asked<ResultOf<typeof ONE>> }) => {
  const t = useT();
  if (asked.failure) return <Failed failure={asked.failure} again={asked.again} />;
  return (
    <p className={asked.data ? "failed" : "loading"} role="status">
      {asked.data ? t("events.noSuch", { n: number }) : t("answer.loading")}
    </p>
  );
};

/** Return the events of both lists, each once, the newest first. */
const merged = (some: readonly LoggedEvent[], others: readonly LoggedEvent[]): LoggedEvent[] => {
  const known = new Set(some.map(({ id }) => id));
  const added = others.filter(({ id }) => !known.has(id));
  return added.length > 0 ? [...some, ...added].sort((a, b) => b.id - a.id) : [...some];
};

type RowsProps = { events: readonly LoggedEvent[]; chosen: string | null; more?: () => void };

/** A list of any length: only the rows on the screen exist. It reads on when its end comes near. */
const Rows = ({ events, chosen, more }: RowsProps) => {
  const t = useT();
  const [, change] = useUrl();
  const place = useRef<HTMLDivElement>(null);
  const rows = useVirtualizer({
    count: events.length,
    getScrollElement: () => place.current,
    estimateSize: () => ROW,
    overscan: 12,
    getItemKey: (index) => events[index]?.id ?? index,
  });
  const shown = rows.getVirtualItems();
  const last = shown.at(-1)?.index ?? 0;
  const wanted = useRef(0);
  useEffect(() => {
    if (more && last > events.length - 20 && wanted.current < events.length) {
      wanted.current = events.length;
      more();
    }
  }, [last, events.length, more]);
  return (
    <div className="virtual" ref={place} role="region" aria-label={t("nav.events")} tabIndex={0}>
      <div className="virtual-rows" style={{ height: rows.getTotalSize() }}>
        {shown.map(({ index, start }) => {
          const event = events[index];
          return (
            event && (
              <div key={event.id} className="virtual-row" style={{ height: ROW, transform: `translateY(${start}px)` }}>
                <small>#{event.id}</small>
                <Time at={event.insertedAt} precise />
                <Button
                  pressed={String(event.id) === chosen}
                  onClick={() => change({ id: String(event.id) === chosen ? undefined : String(event.id) })}
                >
                  {event.eventType}
                </Button>
                <Link href={`/events/${event.aggregateId}?version=${event.eventVersion}`}>
                  {event.aggregateType} {shortId(event.aggregateId)} v{event.eventVersion}
                </Link>
              </div>
            )
          );
        })}
      </div>
    </div>
  );
};

const textIn = (data: unknown, name: string): string | undefined => {
  const value = typeof data === "object" && data !== null ? (data as Record<string, unknown>)[name] : undefined;
  return typeof value === "string" ? value : undefined;
};

const Chosen = ({ event }: { event: LoggedEvent }) => {
  const t = useT();
  const correlation = textIn(event.metadata, "correlation_id");
  const causation = textIn(event.metadata, "causation_id");
  const trace = textIn(event.metadata, "traceparent")?.split("-")[1];
  const place = useShown<HTMLElement>(event.id);
  return (
    <section ref={place} className="panel" aria-live="polite">
      <h2>
        {event.eventType} <small>#{event.id}</small>
      </h2>
      <div className="row">
        <Link className="button" href={`/events/${event.aggregateId}?version=${event.eventVersion}`}>
          {t("events.stream")}
        </Link>
        {event.aggregateType === "order" && (
          <Link className="button" href={`/orders/${event.aggregateId}`}>
            {t("stuck.open.order")}
          </Link>
        )}
        {causation && (
          <Link className="button" href={`/events?causation=${encodeURIComponent(causation)}`}>
            {t("events.sameCause")}
          </Link>
        )}
      </div>
      <Request correlationId={correlation ?? null} traceId={trace ?? null} />
      <div className="columns">
        <div>
          <h3>{t("events.data")}</h3>
          <Json value={event.eventData} />
        </div>
        <div>
          <h3>{t("events.metadata")}</h3>
          {event.metadata ? <Json value={event.metadata} /> : <p className="note">{t("masked")}</p>}
        </div>
      </div>
    </section>
  );
};

export default Events;
