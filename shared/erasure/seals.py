"""What is encrypted, and how: the personal fields of an order's event, together, and its actor.

    {"order_id": ..., "total": ..., "sealed": {"key": ID, "fields": ["user_id", ...], "text": ...}}

`text` is AES-256-GCM over their values, bound to the event, so that it opens nowhere else. Without
the key each of `fields` reads "erased"; what is written after that has no `text` at all.
"""

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from shared.domain.errors import Unavailable
from shared.domain.order import ORDER
from shared.domain.personal import ERASED, PERSONAL
from shared.erasure.protocol import PersonKey
from shared.event_store.protocol import EventRecord, IdempotencyRecord

Fields = dict[str, Any]
Keys = Mapping[UUID, PersonKey]


def is_order(stream: str) -> bool:
    return stream.startswith(f"{ORDER.name}-")


def is_personal(event: EventRecord) -> bool:
    """Return whether the event has values to encrypt."""
    return is_order(event.stream) and bool(_personal(event.data))


def _personal(fields: Fields) -> list[str]:
    return sorted(name for name in PERSONAL & fields.keys() if fields[name] is not None)


def keys_of(events: Collection[EventRecord]) -> set[UUID]:
    """Return the ids of the keys that `opened` needs."""
    return {UUID(key) for key in {event.data["sealed"]["key"] for event in events if "sealed" in event.data}}


def sealed(event: EventRecord, key: PersonKey) -> EventRecord:
    """Return the event with its personal values encrypted; without them once the key is
    destroyed."""
    names = _personal(event.data)
    values = {"data": {name: event.data[name] for name in names}, "actor": event.metadata.actor}
    seal = {"fields": names, **_seal(key, json.dumps(values), _place(event))}
    data = _without(event.data, names) | {"sealed": seal}
    return replace(event, data=data, metadata=replace(event.metadata, actor=ERASED))


def opened(event: EventRecord, keys: Keys) -> EventRecord:
    """Return the event as it was before `sealed`, or with "erased" for what its destroyed key had
    encrypted. Raise Unavailable when the text was changed."""
    if (seal := event.data.get("sealed")) is None:
        return event
    text = _text(seal, keys, _place(event))
    values: Fields = json.loads(text) if text else {"data": dict.fromkeys(seal["fields"], ERASED), "actor": ERASED}
    data = _without(event.data, ["sealed"]) | values["data"]
    metadata = replace(event.metadata, actor=values["actor"])
    return EventRecord(
        event.id, event.stream, event.version, event.type, event.schema_version, data, metadata, event.recorded_at
    )


def sealed_answer(record: IdempotencyRecord, key: PersonKey) -> IdempotencyRecord:
    """Return the record of a command's answer with the whole answer encrypted. Beside it stands, in
    the same order, what is answered after an erasure."""
    answer: Fields = json.loads(record.result)
    answer["entity"] |= dict.fromkeys(_personal(answer["entity"]), ERASED)
    answer["sealed"] = _seal(key, record.result, _place(record))
    return replace(record, result=json.dumps(answer, ensure_ascii=False))


def key_of_answer(record: IdempotencyRecord) -> UUID | None:
    """Return the id of the key that `opened_answer` needs, if any."""
    answer: Fields = json.loads(record.result)
    return UUID(answer["sealed"]["key"]) if "sealed" in answer else None


def opened_answer(record: IdempotencyRecord, keys: Keys) -> IdempotencyRecord:
    answer: Fields = json.loads(record.result)
    seal = answer.pop("sealed")
    text = _text(seal, keys, _place(record)) or json.dumps(answer, ensure_ascii=False)
    return replace(record, result=text)


def _without(fields: Fields, names: Sequence[str]) -> Fields:
    return {name: value for name, value in fields.items() if name not in names}


def _seal(key: PersonKey, text: str, place: bytes) -> Fields:
    """Return the encrypted text; without it once the key is destroyed."""
    if key.secret is None:
        return {"key": str(key.id)}
    from shared.erasure.cipher import encrypt

    return {"key": str(key.id), "text": base64.b64encode(encrypt(key.secret, text.encode(), place)).decode()}


def _text(seal: Fields, keys: Keys, place: bytes) -> str | None:
    """Return the encrypted text, None when its key is destroyed."""
    secret = keys[UUID(seal["key"])].secret
    if secret is None or "text" not in seal:
        return None
    from cryptography.exceptions import InvalidTag

    from shared.erasure.cipher import decrypt

    try:
        return decrypt(secret, base64.b64decode(seal["text"]), place).decode()
    except InvalidTag as error:
        raise Unavailable("an encrypted text was changed, or moved to another place") from error


def _place(record: EventRecord | IdempotencyRecord) -> bytes:
    """Return the one place at which a text may be opened."""
    match record:
        case EventRecord():
            return f"{record.id}|{record.stream}|{record.version}|{record.type}".encode()
        case IdempotencyRecord():
            return f"{record.key}|{record.fingerprint}".encode()
