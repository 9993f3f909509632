"""Documents are encoded and decoded as Firestore's own library does it."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from google.api_core.datetime_helpers import DatetimeWithNanoseconds
from google.cloud.firestore_v1._helpers import decode_value, pbs_for_create

from shared.read_models.firestore_encoding import created, decoded

PATH = "projects/p/databases/(default)/documents/things/1"
VALUES: list[Any] = [
    None, True, False, 0, 1, -(2**63), 2**63 - 1, 0.0, 1.5, "", "お茶 🍵", b"bytes",
    [], {}, (1, "a"), ["a", None, {"b": [1]}], {"a": {"b": 1}},
    datetime(2026, 4, 1, 9, 0, 0, 999_999, tzinfo=UTC), datetime(1901, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    datetime(2026, 4, 1, tzinfo=timezone(timedelta(hours=9))),
    DatetimeWithNanoseconds(2026, 4, 1, nanosecond=7, tzinfo=UTC),  # type: ignore[no-untyped-call]
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_is_encoded_as_by_the_library(value: Any) -> None:
    (expected,) = pbs_for_create(PATH, {"field": value})
    assert created(PATH, {"field": value}) == expected


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_is_decoded_as_by_the_library(value: Any) -> None:
    stored = created(PATH, {"field": value})._pb.update.fields
    found, expected = decoded(stored)["field"], decode_value(stored["field"], None)
    assert found == expected
    assert type(found) is (datetime if isinstance(value, datetime) else type(expected))


def test_names_of_fields_are_kept() -> None:
    fields = {"a.b": 1, "ü": {"c.d": [2]}}
    (expected,) = pbs_for_create(PATH, fields)
    assert created(PATH, fields) == expected


@pytest.mark.parametrize("value", [2**63, object(), {1, object()}], ids=["too large", "object", "objects"])
def test_a_value_that_the_library_refuses_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        created(PATH, {"field": value})
