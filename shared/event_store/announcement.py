"""An event as a message, and back: what the event store tells the rest of the shop about each of its events."""

from datetime import datetime

from shared.event_store.protocol import EventRecord
from shared.messaging.envelope import Message


def announcement(event: EventRecord) -> Message:
    """On the topic of its aggregate, under the event's own id."""
    return Message(
        topic=f"{event.stream.partition('-')[0]}-events",
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
