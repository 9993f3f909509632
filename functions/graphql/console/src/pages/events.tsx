import { useVirtualizer } from "@tanstack/react-virtual";
import { memo, useEffect, useRef, useState } from "react";
import { Link } from "wouter";

import { ask } from "../api/client.ts";
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
import { momentIn } from "../ui/moments.ts";
import { Request } from "../ui/request.tsx";
import { Time } from "../ui/time.tsx";
import { useBatched } from "../ui/use-batched.ts";
import { useShown } from "../ui/use-shown.ts";
import { type Change, useUrl } from "../ui/use-url.ts";
import { Causation } from "./causation.tsx";
import { EMPTY, type EventList, KEPT, rowOf, withGap, withLive, withNewest, withOlder } from "./event-list.ts";
import { LOGGED_EVENT, type LoggedEvent } from "./logged-event.ts";

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
          ...LoggedEvent
        }
      }
    }
  }
`, [LOGGED_EVENT]);

const ONE = graphql(`
  query OneEvent($after: Int!) {
    events(afterId: $after, limit: 1) {
      ...LoggedEvent
    }
  }
`, [LOGGED_EVENT]);

const STREAM = graphql(`
  subscription EventStream($aggregateType: String, $eventType: String) {
    eventStream(aggregateType: $aggregateType, eventType: $eventType) {
      ...LoggedEvent
    }
  }
`, [LOGGED_EVENT]);

/** Return the event's number; for what is none, one that no event has. */
const numberIn = (text: string | null): number => {
  const number = Number(text);
  return Number.isSafeInteger(number) && number > 0 ? number : Number.MAX_SAFE_INTEGER;
};

const TYPES = ["category", "product", "order"];
const ROW = 36;

/** `failed`: why a page could not be read, and the cursor that it was asked for with. */
type Page = {
  key: string;
  list: EventList<LoggedEvent>;
  total?: number;
  failed?: { failure: Failure; after?: string };
  loading: boolean;
};

const Events = () => {
  const t = useT();
  const [url, change] = useUrl();
  const { user, signOuts } = useSession();
  const filter = {
    aggregateType: url.get("type"),
    eventType: url.get("event"),
    aggregateId: url.get("aggregate"),
    correlationId: url.get("correlation"),
    causationId: url.get("causation"),
    traceId: url.get("trace"),
    recordedAfter: momentIn(url.get("from")),
    recordedBefore: momentIn(url.get("to")),
  };
  const { aggregateType, eventType, ...others } = filter;
  const narrow = Object.values(others).find((one) => one !== null) ?? null;
  const paused = url.has("paused") || narrow !== null;
  const key = `${user?.id ?? ""} ${signOuts} ${JSON.stringify(filter)}`;
  const [page, setPage] = useState<Page>({ key, list: EMPTY, loading: true });
  const newest = useRef(0);

  const load = async (after?: string) => {
    const request = after === undefined ? ++newest.current : newest.current;
    setPage((before) => ({ ...(before.key === key ? before : { key, list: EMPTY }), loading: true }));
    const { data, error } = await ask(PAGE, { after: after ?? null, filter });
    const found = data?.eventsConnection;
    setPage((before) => {
      const isWanted = after === undefined ? request === newest.current : before.list.next === after;
      if (before.key !== key || !isWanted) return before;
      if (!found) return { ...before, loading: false, failed: error && { failure: failureOf(error), after } };
      const events = found.edges.map(({ node }) => node);
      const end = found.pageInfo.hasNextPage ? (found.pageInfo.endCursor ?? undefined) : undefined;
      const list = (after === undefined ? withNewest : withOlder)(before.list, events, end);
      return { key, list, total: found.totalCount ?? undefined, loading: false };
    });
  };
  useEffect(() => {
    void load();
    // The key stands for the filter.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [key]);

  const { add, flush } = useBatched<{ key: string; event: LoggedEvent }>((items) =>
    setPage((before) => {
      const events = items.flatMap((one) => (one.key === before.key ? [one.event] : []));
      return { ...before, list: withLive(before.list, events) };
    }),
  );
  const live = useLive(STREAM, { aggregateType, eventType }, ({ eventStream: event }) => add({ key, event }), {
    pause: paused,
    onBegin: () => {
      flush();
      setPage((before) => (before.key === key ? { ...before, list: withGap(before.list) } : before));
      void load();
    },
  });
  const { rows, next } = page.key === key ? page.list : EMPTY;
  const wanted = url.get("id");
  const listed = rowOf(rows, numberIn(wanted));
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
      {page.key === key && page.failed && (
        <Failed failure={page.failed.failure} again={() => void load(page.failed?.after)} />
      )}
      {page.key === key && page.total !== undefined && (
        <p className="note">
          {t(rows.length < KEPT ? "events.shown" : "events.full", {
            n: numberOf(rows.length, t.language),
            of: numberOf(Math.max(page.total, rows.length), t.language),
          })}
        </p>
      )}
      {rows.length > 0 ? (
        <Rows events={rows} chosen={wanted} next={next} more={(after) => void load(after)} />
      ) : page.loading || page.key !== key ? (
        <p className="loading" role="status">
          {t("answer.loading")}
        </p>
      ) : (
        !page.failed && <p className="empty">{t("events.none")}</p>
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

type LineProps = { event: LoggedEvent; pressed: boolean; change: Change };

/** A row's content, which is not rendered again when the row moves. */
const Line = memo(({ event, pressed, change }: LineProps) => (
  <>
    <small>#{event.id}</small>
    <Time at={event.insertedAt} precise />
    <Button pressed={pressed} onClick={() => change({ id: pressed ? undefined : String(event.id) })}>
      {event.eventType}
    </Button>
    <Link href={`/events/${event.aggregateId}?version=${event.eventVersion}`}>
      {event.aggregateType} {shortId(event.aggregateId)} v{event.eventVersion}
    </Link>
  </>
));
Line.displayName = "Line";

type RowsProps = {
  events: readonly LoggedEvent[];
  chosen: string | null;
  next: string | undefined;
  more: (after: string) => void;
};

/** A list of any length: only the rows on the screen exist. It reads on when its end comes near. */
const Rows = ({ events, chosen, next, more }: RowsProps) => {
  const t = useT();
  const [, change] = useUrl();
  const place = useRef<HTMLDivElement>(null);
  const rows = useVirtualizer({
    count: events.length,
    getScrollElement: () => place.current,
    estimateSize: () => ROW,
    overscan: 12,
  });
  const shown = rows.getVirtualItems();
  const last = shown.at(-1)?.index ?? 0;
  const asked = useRef<string>(undefined);
  useEffect(() => {
    if (next !== undefined && last > events.length - 20 && asked.current !== next) {
      asked.current = next;
      more(next);
    }
  }, [last, events.length, next, more]);
  return (
    <div className="virtual" ref={place} role="region" aria-label={t("nav.events")} tabIndex={0}>
      <div className="virtual-rows" style={{ height: rows.getTotalSize() }}>
        {shown.map(({ index, start }) => {
          const event = events[index];
          return (
            event && (
              <div key={event.id} className="virtual-row" style={{ height: ROW, transform: `translateY(${start}px)` }}>
                <Line event={event} pressed={String(event.id) === chosen} change={change} />
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
        {event.eventType}{" "}
        <small>
          #{event.id} <Time at={event.insertedAt} precise />
        </small>
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
      <Causation id={event.id} />
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
