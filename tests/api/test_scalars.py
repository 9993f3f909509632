"""DateTime is exactly RFC 3339."""

from datetime import UTC, datetime, timedelta

import pytest
from graphql import GraphQLError

from shared.api.scalars import datetime_in

MOMENT = datetime(2026, 4, 1, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-04-01T09:00:00Z", MOMENT),
        ("2026-04-01t09:00:00z", MOMENT),
        ("2026-04-01T18:00:00+09:00", MOMENT),
        ("2026-04-01T09:00:00-00:00", MOMENT),
        ("2026-04-02T08:59:00+23:59", MOMENT),
        ("2026-04-01T09:00:00.5Z", MOMENT + timedelta(milliseconds=500)),
        ("2026-04-01T09:00:00.123456789Z", MOMENT + timedelta(microseconds=123456)),
        ("2026-04-01T09:00:00." + "0" * 50 + "Z", MOMENT),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2017-01-01T08:59:60.25+09:00", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_time_of_rfc_3339(text: str, moment: datetime) -> None:
    assert datetime_in(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "2026-04-01",
        "2026-04-01T09:00Z",
        "2026-04-01T09:00:00",
        "2026-04-01 09:00:00Z",
        "2026-W14-3T09:00:00Z",
        "2026-091T09:00:00Z",
        "20260401T090000Z",
        "2026-04-01T09:00:00+0900",
        "2026-04-01T09:00:00+09",
        "2026-04-01T09:00:00+09:00:30",
        "2026-04-01T09:00:00+24:00",
        "2026-04-01T09:00:00+09:60",
        "2026-04-01T09:00:00,5Z",
        "2026-04-01T09:00:00.Z",
        "2026-04-01T24:00:00Z",
        "2026-04-01T09:00:60Z",
        "2026-04-01T23:59:60Z",
        "2026-04-30T23:59:61Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "9999-12-31T23:59:60Z",
        "２０２６-04-01T09:00:00Z",
        " 2026-04-01T09:00:00Z",
        "2026-04-01T09:00:00Z\n",
        "-2026-04-01T09:00:00Z",
        "now",
        "",
        1775034000,
        True,
        ["2026-04-01T09:00:00Z"],
    ],
)
def test_everything_else_is_refused_in_the_same_words(text: object) -> None:
    with pytest.raises(GraphQLError, match=r"^must be a time of RFC 3339 such as 2026-04-01T09:00:00Z; got "):
        datetime_in(text)
