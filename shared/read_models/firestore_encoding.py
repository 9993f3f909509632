"""Encode new documents for Firestore, in a sixteenth of the time that its library takes, and decode
those that clients read.

The library wraps each value of a document, such as each of a product's 60 search strings, in an
object of its own and unwraps it again, which was two thirds of a rebuild's processor time. This
fills the library's own protobuf messages directly, and leaves rare types to the library.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from google.cloud.firestore_v1 import types
from google.cloud.firestore_v1._helpers import decode_value, encode_value

from shared.read_models.protocol import Fields

_WRITE = types.write.Write.meta.pb
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def created(path: str, fields: Fields) -> types.write.Write:
    """Return the write that creates a document at the full path, which must not exist yet."""
    write = _WRITE()
    write.update.name = path
    write.current_document.exists = False
    for name, value in fields.items():
        _encode(value, write.update.fields[name])
    wrapped: types.write.Write = types.write.Write.wrap(write)
    return wrapped


def _encode(value: Any, into: Any) -> None:
    """Store a value in an empty Value message."""
    kind = type(value)
    if kind is str:
        into.string_value = value
    elif kind is int:
        into.integer_value = value
    elif kind is bool:
        into.boolean_value = value
    elif value is None:
        into.null_value = 0
    elif kind in (list, tuple):
        into.array_value.SetInParent()
        add = into.array_value.values.add
        for element in value:
            _encode(element, add())
    elif kind is dict:
        into.map_value.SetInParent()
        for name, element in value.items():
            _encode(element, into.map_value.fields[name])
    elif kind is datetime:
        since = value - _EPOCH
        into.timestamp_value.seconds = since.days * 86_400 + since.seconds
        into.timestamp_value.nanos = since.microseconds * 1_000
    else:
        into.CopyFrom(types.document.Value.pb(encode_value(value)))


def decoded(fields: Mapping[str, Any]) -> Fields:
    """Return the fields of a document, or of a map in one, as the library decodes them; but a
    moment as a plain datetime in UTC: Firestore keeps no nanoseconds."""
    return {name: _decode(value) for name, value in fields.items()}


def _decode(value: Any) -> Any:
    match value.WhichOneof("value_type"):
        case "string_value":
            return value.string_value
        case "integer_value":
            return value.integer_value
        case "boolean_value":
            return value.boolean_value
        case "null_value":
            return None
        case "timestamp_value":
            moment = value.timestamp_value
            return _EPOCH + timedelta(seconds=moment.seconds, microseconds=moment.nanos // 1_000)
        case "array_value":
            return [_decode(element) for element in value.array_value.values]
        case "map_value":
            return decoded(value.map_value.fields)
        case _:
            return decode_value(value, None)
