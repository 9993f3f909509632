"""Between domain events, what is stored of them, and the messages that announce them."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, cast

from pydantic import TypeAdapter

from shared.domain.aggregate import topic_of
from shared.domain.category import CATEGORY
from shared.domain.events import Event
from shared.domain.order import ORDER
from shared.domain.product import PRODUCT
from shared.event_store.protocol import EventRecord
from shared.messaging.envelope import Message

Data = dict[str, Any]
Upcaster = Callable[[Data], Data]

UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}
"""Old events made readable: each upcaster turns the data of one schema version into that of the next.

    UPCASTERS = {("ProductCreated", 1): lambda data: data | {"tax_class": "standard"}}

together with `schema_version = 2` on `ProductCreated` makes every stored version-1 event read as version 2. Stored
events are never rewritten.
"""


class UnknownEvent(Exception):
    """An event type or schema version that this code can't read: it is older than the data, or an upcaster is missing."""


class Codec:
    """`types`: the event classes; one's current schema version is its `schema_version`, 1 unless it says otherwise."""

    def __init__(self, types: Iterable[type[Any]], upcasters: Mapping[tuple[str, int], Upcaster]) -> None:
        self._types = {event_type.__name__: event_type for event_type in types}
        self._upcasters = upcasters

    @cached_property
    def _adapters(self) -> dict[str, TypeAdapter[Any]]:
        return {name: TypeAdapter(event_type) for name, event_type in self._types.items()}

    def encode(self, event: object) -> tuple[str, int, Data]:
        """Name, schema version and JSON data of an event."""
        name = type(event).__name__
        data = self._adapters[name].dump_python(event, mode="json")
        return name, _schema_version(type(event)), cast(Data, data)

    def decode(self, record: EventRecord) -> Event:
        """Raises UnknownEvent rather than skip what it can't read."""
        if record.type not in self._types:
            raise UnknownEvent(f"no event is called {record.type} ({record.stream}, version {record.version})")
        current = _schema_version(self._types[record.type])
        data = record.data
        for version in range(record.schema_version, current):
            if (record.type, version) not in self._upcasters:
                raise UnknownEvent(f"no upcaster for {record.type} from schema version {version} to {version + 1}")
            data = self._upcasters[record.type, version](data)
        if record.schema_version > current:
            raise UnknownEvent(f"{record.type} has schema version {record.schema_version}; this code knows {current}")
        return cast(Event, self._adapters[record.type].validate_python(data))


def _schema_version(event_type: type[Any]) -> int:
    return getattr(event_type, "schema_version", 1)


CODEC = Codec((*CATEGORY.event_types, *PRODUCT.event_types, *ORDER.event_types), UPCASTERS)


def announcement(event: EventRecord) -> Message:
    """On the topic of its aggregate, under the event's own id."""
    return Message(
        topic=topic_of(event.stream),
        type=event.type,
        subject=event.stream,
        data={
            "version": event.version,
            "schema_version": event.schema_version,
            "data": event.data,
            "recorded_at": event.recorded_at.isoformat(),
        },
        context=event.metadata,
        id=event.id,
        time=event.recorded_at,
    )


def announced(message: Message) -> EventRecord:
    """The event that a message announces."""
    data = message.data
    return EventRecord(
        message.id,
        message.subject,
        data["version"],
        message.type,
        data["schema_version"],
        data["data"],
        message.context,
        datetime.fromisoformat(data["recorded_at"]),
    )
