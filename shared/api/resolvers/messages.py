"""Published messages, which are announced events and saga commands: lists, statistics, stream."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, TypeVar

from shared.api.context import Info, LiveField, Number, RequestContext, Resolvers, ResumePoint, SourceEvent, Text
from shared.api.limits import from_stores
from shared.api.resolvers.common import after_a_moment, limit_of
from shared.api.resolvers.events import visible_streams
from shared.api.sse import cursor_of, read_cursor, require_in_log, resume_point
from shared.config.manifest import manifest
from shared.domain.aggregate import topic_of
from shared.domain.errors import Invalid
from shared.domain.faults import at, one_of
from shared.domain.order import AGGREGATES, ORDER
from shared.domain.personal import masked
from shared.event_store.aggregates import announcement
from shared.event_store.protocol import Checkpoint, EventRecord, Moment
from shared.messaging.envelope import topic as topic_of_command
from shared.messaging.outbox import Traffic
from shared.read_models.protocol import Fields
from shared.resilience import clock
from shared.runtime.engines import Engines
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from shared.sagas.store import SagaEntry

E = TypeVar("E")

_EVENT_TYPES: Mapping[str, Sequence[str]] = {
    aggregate.topic: [kind.__name__ for kind in aggregate.event_types] for aggregate in AGGREGATES.values()
}
"""The event types that are announced on each topic."""
_COMMAND_TOPICS: Mapping[str, str] = {
    command.__name__: topic_of_command(command) for command in ORDER_FULFILMENT.commands if isinstance(command, type)
}
"""The topic of each command."""
MESSAGE_TYPES = (*(kind for kinds in _EVENT_TYPES.values() for kind in kinds), *_COMMAND_TOPICS)
"""The types of all messages."""
_RATE_WINDOW = timedelta(minutes=5)


class Published(NamedTuple):
    """`log`: 0 for the log of events, 1 for that of sagas. `stream`: the message's subject.
    `source_service`: the service that records and publishes it, the same for all messages."""

    timestamp: datetime
    log: int
    checkpoint: Checkpoint
    id: str
    topic: str
    message_type: str
    stream: str
    payload: Fields
    source_service: str = "command"

    @property
    def cursor(self) -> str:
        return cursor_of(self.timestamp, f"{self.log}-{self.checkpoint.position}")


async def pubsub_messages(
    _: Any,
    info: Info,
    topic: Text = None,
    limit: Number = 100,
    afterTimestamp: datetime | None = None,
    after: Text = None,
) -> Sequence[Published]:
    """Return the newest messages first, or those after a cursor or a moment, the oldest first."""
    topic = _known_topic(topic)
    length = limit_of(info, limit, default=100)
    read = partial(_messages, info, topic, _places(after, afterTimestamp))
    if length == 0:
        return []
    if afterTimestamp is None:
        return await _visible(info, await read(length))
    return await _visible(info, await after_a_moment(info, read, length, lambda message: message.timestamp))


def _places(cursor: Text, after: datetime | None) -> tuple[Moment | None, Moment | None]:
    """Return where the logs of events and of sagas are read on. Of the same time, events come
    first. Raise Invalid."""
    found = read_cursor(cursor, after, r"([01])-(\d{1,18})")
    if not found or not found[1]:
        return (Moment(found[0]), Moment(found[0])) if found else (None, None)
    at, match = found[0], found[1]
    place = Moment(at, int(match[2]))
    return (place, Moment(at, 0)) if match[1] == "0" else (Moment(at), place)


async def _messages(
    info: Info, topic: Text, places: tuple[Moment | None, Moment | None], length: int
) -> Sequence[Published]:
    engines, budget = info.context.engines, info.context.loaders.budget
    events = [kind for name, kinds in _EVENT_TYPES.items() if topic in (None, name) for kind in kinds]
    commands = [kind for kind, name in _COMMAND_TOPICS.items() if topic in (None, name)]
    found: list[Published] = []
    if events:
        recorded = await budget.rows(engines.event_log.by_time, events, places[0], length)
        found += [_of_event(one.event, Checkpoint(position=one.position)) for one in recorded]
    if commands:
        found += map(_of_command, await budget.rows(engines.saga_log.sent, commands, places[1], length))
    found.sort(key=lambda one: (one.timestamp, one.log, one.checkpoint.position), reverse=places == (None, None))
    return found[:length]


async def pubsub_stats(_: Any, info: Info) -> Sequence[Fields]:
    """Return the traffic of every topic, dead-letter topics included."""
    events, commands, letters = await info.context.loaders.once("traffic", partial(_traffic, info.context.engines))
    by_topic = {topic_of(aggregate): traffic for aggregate, traffic in events.items()}
    by_topic |= {_COMMAND_TOPICS[name]: traffic for name, traffic in commands.items() if name in _COMMAND_TOPICS}
    by_topic |= {
        subscription.dead_letter_topic: letters.get(subscription.name, Traffic())
        for subscription in manifest().all_subscriptions
        if subscription.dead_letter_topic
    }
    stats = [_stats(topic, by_topic.get(topic, Traffic())) for topic in manifest().topics]
    return sorted(stats, key=lambda one: one["message_count"], reverse=True)


async def _traffic(engines: Engines) -> Sequence[Mapping[str, Traffic]]:
    """Return the traffic of events by aggregate, of commands by name, and of dead letters by
    subscription."""
    until = clock.now()
    reads = (engines.event_log.traffic, engines.saga_log.traffic, engines.dead_letters.traffic)
    return await asyncio.gather(*(from_stores(read, until - _RATE_WINDOW, until) for read in reads))


def _stats(topic: str, traffic: Traffic) -> Fields:
    return {
        "topic": topic,
        "message_count": traffic.count,
        "messages_per_minute": traffic.lately / (_RATE_WINDOW / timedelta(minutes=1)),
        "last_message_at": traffic.last_at,
    }


async def pubsub_stream(info: Info, topic: Text = None) -> AsyncGenerator[SourceEvent]:
    engines = info.context.engines
    topic = _known_topic(topic)
    seen = resume_point(info, logs=2)
    ends = (await from_stores(engines.event_store.end), await from_stores(engines.saga_log.end))
    require_in_log(seen, ends)
    return _follow(info.context, seen or ends, topic)


async def _follow(request: RequestContext, point: ResumePoint, topic: Text) -> AsyncGenerator[SourceEvent]:
    """Follow the logs that hold the topic; the other log's part of the resume point stays."""
    engines, client = request.engines, request.client
    yield SourceEvent(point, None)
    sources = []
    if topic is None or topic in _EVENT_TYPES:
        entries = engines.tail.after(point[0], lambda entry: topic in (None, topic_of(entry.event.stream)), client)
        sources.append(_published(entries, lambda entry: _of_event(entry.event, entry.checkpoint)))
    if topic not in _EVENT_TYPES:
        sources.append(_published(engines.saga_tail.after(point[1], partial(_is_command, topic), client), _of_command))
    async with aclosing(_merged(sources)) as messages:
        async for message in messages:
            point = (*point[: message.log], message.checkpoint, *point[message.log + 1 :])
            yield SourceEvent(point, message)


def _is_command(topic: Text, entry: SagaEntry) -> bool:
    is_message = entry.entry.message is not None
    return is_message and (topic is None or _COMMAND_TOPICS.get(entry.entry.name) == topic)


async def _published(entries: AsyncGenerator[E], publish: Callable[[E], Published]) -> AsyncGenerator[Published]:
    async with aclosing(entries):
        async for entry in entries:
            yield publish(entry)


async def _merged(sources: Sequence[AsyncGenerator[Published]]) -> AsyncGenerator[Published]:
    """Yield messages of all sources as they come; of those ready together, the oldest first."""
    async with AsyncExitStack() as stack:
        for source in sources:
            await stack.enter_async_context(aclosing(source))
        pending = {asyncio.ensure_future(anext(source)): source for source in sources}
        try:
            while pending:
                await asyncio.sleep(0)  # gives the source that was just asked a chance to be ready, too
                done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                first = min(done, key=lambda task: task.result().timestamp)
                source = pending.pop(first)
                pending[asyncio.ensure_future(anext(source))] = source
                yield first.result()
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)


async def _message(published: Published, info: Info, **_: Any) -> Published:
    (message,) = await _visible(info, [published])
    return message


async def _visible(info: Info, messages: Sequence[Published]) -> list[Published]:
    """Return the messages as the actor may see them."""
    visible = await visible_streams(info, {message.stream for message in messages})
    return [message if message.stream in visible else _masked(message) for message in messages]


def _masked(message: Published) -> Published:
    """Mask the payload. An announcement holds its event's data one level down."""
    payload, is_event = message.payload, message.log == 0
    return message._replace(payload=payload | {"data": masked(payload["data"])} if is_event else masked(payload))


def _of_event(event: EventRecord, checkpoint: Checkpoint) -> Published:
    message = announcement(event)
    identity = (str(message.id), message.topic, message.type, message.subject)
    return Published(event.recorded_at, 0, checkpoint, *identity, message.data)


def _of_command(sent: SagaEntry) -> Published:
    name, stream = sent.entry.name, ORDER.stream(sent.saga_id)
    topic = _COMMAND_TOPICS.get(name, name)
    return Published(sent.at, 1, sent.checkpoint, str(sent.entry.message), topic, name, stream, sent.entry.data)


def _known_topic(topic: Text) -> Text:
    """Return the topic as it is spelt, in any case. Raise Invalid for one without events and
    commands."""
    known = {name.lower(): name for name in (*_EVENT_TYPES, *_COMMAND_TOPICS.values())}
    if topic is None or topic.lower() in known:
        return topic and known[topic.lower()]
    if topic.lower() in manifest().topics:
        raise Invalid(f"{topic} is a dead-letter topic; query deadLetters for its messages", ("topic",))
    raise Invalid(at(("topic",), one_of(known.values(), topic)), ("topic",))


RESOLVERS: Resolvers = {
    "Query": {"pubsubMessages": pubsub_messages, "pubsubStats": pubsub_stats},
    "Subscription": {"pubsubStream": LiveField(pubsub_stream, _message)},
}
