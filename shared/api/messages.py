"""The messages that the shop publishes, for those who watch: events, each its own announcement, and the sagas' commands."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from shared.api.context import Info, ResumePoint, SourceEvent, from_stores
from shared.api.history import masked, seen_through
from shared.api.queries import page_of
from shared.api.sse import require_in_log, resume_point
from shared.config.manifest import manifest
from shared.domain.aggregate import topic_of
from shared.domain.category import CATEGORY
from shared.domain.errors import Invalid
from shared.domain.order import ORDER
from shared.domain.product import PRODUCT
from shared.event_store.aggregates import announcement
from shared.event_store.protocol import Checkpoint, EventRecord
from shared.messaging.envelope import topic as topic_of_command
from shared.messaging.outbox import Traffic
from shared.read_models.protocol import Fields
from shared.resilience import clock
from shared.runtime.engines import Engines
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from shared.sagas.store import SagaEntry

_EVENTS: Mapping[str, Sequence[str]] = {
    aggregate.topic: [kind.__name__ for kind in aggregate.event_types] for aggregate in (CATEGORY, PRODUCT, ORDER)
}
"""The types of events that are announced on each topic."""
_COMMANDS: Mapping[str, str] = {
    command.__name__: topic_of_command(command) for command in ORDER_FULFILMENT.commands if isinstance(command, type)
}
"""The topic of each command."""
_SOURCE = "command"
"""The service that records and publishes all of them."""
_LATELY = timedelta(minutes=5)


class Published(NamedTuple):
    """`log`: 0 for events, 1 for commands. `about`: a stream."""

    at: datetime
    log: int
    place: Checkpoint
    id: str
    topic: str
    type: str
    about: str
    payload: Fields


async def pubsub_messages(
    _: Any, info: Info, topic: str | None = None, limit: int | None = 100, afterTimestamp: datetime | None = None
) -> Sequence[Fields]:
    engines = info.context.engines
    _require_known(topic)
    length, _offset = page_of({"limit": limit}, engines.settings, default=100)
    events = [kind for name, kinds in _EVENTS.items() if topic in (None, name) for kind in kinds]
    commands = [kind for kind, name in _COMMANDS.items() if topic in (None, name)]
    if length == 0:
        return []
    asked = (afterTimestamp, length + 1)
    found: list[Published] = []
    if events:
        seen = await from_stores(engines.event_log.by_time, events, *asked)
        found += [_of_event(one.event, Checkpoint(position=one.position)) for one in seen]
    if commands:
        found += map(_of_command, await from_stores(engines.saga_log.sent, commands, *asked))
    found.sort(key=lambda one: one[:3], reverse=afterTimestamp is None)
    return await _shown(info, found[:length] if afterTimestamp is None else _whole_moments(found, length))


def _whole_moments(found: Sequence[Published], length: int) -> Sequence[Published]:
    """As many, but none of a moment of which there are more; else whoever goes on after that moment would miss those."""
    page, beyond = found[:length], found[length:]
    whole = [one for one in page if not beyond or one.at < beyond[0].at]
    return whole or page


async def pubsub_stats(_: Any, info: Info) -> Sequence[Fields]:
    engines, until = info.context.engines, clock.now()
    traffic = (engines.event_log.traffic, engines.saga_log.traffic, engines.dead_letters.traffic)
    events, commands, letters = await asyncio.gather(*(from_stores(one, until - _LATELY, until) for one in traffic))
    of_topic = {topic_of(aggregate): one for aggregate, one in events.items()}
    of_topic |= {_COMMANDS[name]: one for name, one in commands.items() if name in _COMMANDS}
    of_topic |= {
        one.dead_letter_topic: letters.get(one.name, Traffic())
        for one in manifest().all_subscriptions
        if one.dead_letter_topic
    }
    return [_stats(topic, of_topic.get(topic, Traffic())) for topic in manifest().topics]


def _stats(topic: str, traffic: Traffic) -> Fields:
    return {
        "topic": topic,
        "message_count": traffic.count,
        "messages_per_minute": traffic.lately / (_LATELY / timedelta(minutes=1)),
        "last_message_at": traffic.last_at,
    }


async def pubsub_stream(info: Info, topic: str | None = None) -> AsyncGenerator[SourceEvent]:
    engines = info.context.engines
    _require_known(topic)
    seen = resume_point(info, logs=2)
    ends = (await from_stores(engines.event_store.end), await from_stores(engines.saga_log.end))
    require_in_log(seen, ends)
    return _stream(engines, seen or ends, topic)


async def _stream(engines: Engines, place: ResumePoint, topic: str | None) -> AsyncGenerator[SourceEvent]:
    """Nobody waits for the log that holds nothing of the topic; its place stays."""
    yield SourceEvent(place, None)
    sources = []
    if topic is None or topic in _EVENTS:
        sources.append(_events(engines, place[0], topic))
    if topic not in _EVENTS:
        sources.append(_commands(engines, place[1], topic))
    async with aclosing(merged(sources)) as found:
        async for one in found:
            place = (*place[: one.log], one.place, *place[one.log + 1 :])
            yield SourceEvent(place, one)


async def _events(engines: Engines, place: Checkpoint, topic: str | None) -> AsyncGenerator[Published]:
    tail = engines.tail.after(place, lambda entry: topic in (None, topic_of(entry.event.stream)))
    async with aclosing(tail) as entries:
        async for entry in entries:
            yield _of_event(entry.event, entry.checkpoint)


async def _commands(engines: Engines, place: Checkpoint, topic: str | None) -> AsyncGenerator[Published]:
    def wanted(one: SagaEntry) -> bool:
        return one.entry.message is not None and (topic is None or _COMMANDS.get(one.entry.name) == topic)

    async with aclosing(engines.saga_tail.after(place, wanted)) as entries:
        async for entry in entries:
            yield _of_command(entry)


async def merged(sources: Sequence[AsyncGenerator[Published]]) -> AsyncGenerator[Published]:
    """What comes of any of them, as it comes; of what is there at the same moment, the older first."""
    async with AsyncExitStack() as stack:
        for source in sources:
            await stack.enter_async_context(aclosing(source))
        coming = {asyncio.ensure_future(anext(source)): source for source in sources}
        try:
            while coming:
                await asyncio.sleep(0)  # or who has just been asked could not be among those who have answered
                done, _ = await asyncio.wait(coming, return_when=asyncio.FIRST_COMPLETED)
                first = min(done, key=lambda task: task.result().at)
                source = coming.pop(first)
                coming[asyncio.ensure_future(anext(source))] = source
                yield first.result()
        finally:
            for task in coming:
                task.cancel()
            await asyncio.gather(*coming, return_exceptions=True)


async def message(one: Published, info: Info, **_: Any) -> Fields:
    (fields,) = await _shown(info, [one])
    return fields


async def _shown(info: Info, found: Sequence[Published]) -> Sequence[Fields]:
    personal = await seen_through({one.about for one in found}, info)
    return [_fields(one, one.payload if one.about in personal else _masked(one)) for one in found]


def _masked(one: Published) -> Fields:
    """An announcement holds its event's data one level down."""
    return one.payload | {"data": masked(one.payload["data"])} if one.log == 0 else masked(one.payload)


def _fields(one: Published, payload: Fields) -> Fields:
    return {
        "id": one.id,
        "topic": one.topic,
        "message_type": one.type,
        "payload": payload,
        "timestamp": one.at,
        "source_service": _SOURCE,
    }


def _of_event(event: EventRecord, place: Checkpoint) -> Published:
    told = announcement(event)
    return Published(event.recorded_at, 0, place, str(told.id), told.topic, told.type, told.subject, told.data)


def _of_command(one: SagaEntry) -> Published:
    kind, about = one.entry.name, f"{ORDER.name}-{one.saga_id}"
    topic = _COMMANDS.get(kind, kind)
    return Published(one.at, 1, one.checkpoint, str(one.entry.message), topic, kind, about, one.entry.data)


def _require_known(topic: str | None) -> None:
    """Raise Invalid for a topic that these messages are not on."""
    known = [*_EVENTS, *_COMMANDS.values()]
    if topic is None or topic in known:
        return
    if topic in manifest().topics:
        raise Invalid(f"what is on the dead-letter topic {topic} is shown by deadLetters", ("topic",))
    raise Invalid(f"topic must be one of {', '.join(known)}, not {topic!r:.60}", ("topic",))
