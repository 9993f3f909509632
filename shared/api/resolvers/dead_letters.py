"""Dead letters, for admins: queries, retrying and discarding."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from shared.api.connections import AT, Connection, Listing, connect
from shared.api.context import Info, Number, Resolvers, Text
from shared.api.inputs import uuid
from shared.api.limits import from_stores
from shared.api.resolvers.common import existing, limit_of, one_of, page_of, require_admin
from shared.api.resolvers.listings import is_descending
from shared.api.resolvers.messages import MESSAGE_TYPES
from shared.api.resolvers.operators import admin_command
from shared.config.manifest import manifest
from shared.dead_letters.failures import Cause, LetterCause
from shared.dead_letters.protocol import DeadLetter, Letters, LetterStatus
from shared.domain.errors import Invalid
from shared.domain.order import ORDER
from shared.postgres.slices import Key, Slice
from shared.postgres.text import storable
from shared.read_models.protocol import Fields
from shared.runtime.decode import decode


async def dead_letters(
    _: Any, info: Info, status: LetterStatus | None = None, source: Text = None, **page: Number
) -> Sequence[DeadLetter]:
    require_admin(info)
    limit, offset = page_of(info, page, default=50)
    latest = info.context.engines.dead_letters.latest
    known = one_of(_sources(), source, "source")
    return await info.context.loaders.budget.rows(latest, limit, offset, status, known)


def _sources() -> list[str]:
    return [subscription.name for subscription in manifest().all_subscriptions]


async def dead_letters_connection(
    _: Any, info: Info, filter: Fields | None = None, **page: Any
) -> Connection[DeadLetter]:
    require_admin(info)
    which = _wanted(filter or {})
    store, rows = info.context.engines.dead_letters, info.context.loaders.budget.rows

    async def read(part: Slice) -> Sequence[DeadLetter]:
        return await rows(store.page, which, part)

    async def count() -> tuple[int, int]:
        if which == Letters():
            kept = await from_stores(info.context.engines.counts.records)
            return kept.others.get("dead_letters", 0), 0
        number = await from_stores(store.count, which)
        return number, number

    return await connect(
        info, Listing("RECORDED_AT", tuple[AT, UUID], _key, read, count, None, is_descending(page)), page
    )


def _wanted(filter: Fields) -> Letters:
    """Return what a filter selects. Raise Invalid."""
    order_id, subject = filter.get("orderId"), filter.get("subject")
    if order_id is not None and subject is not None:
        raise Invalid("pass subject or orderId, not both", ("filter", "orderId"))
    if order_id is not None:
        subject = ORDER.stream(UUID(uuid(order_id, "filter", "orderId")))
    topics = {subscription.topic for subscription in manifest().all_subscriptions}
    correlation_id = filter.get("correlationId")
    return Letters(
        filter.get("status"),
        one_of(_sources(), filter.get("source"), "filter", "source"),
        one_of(sorted(topics), filter.get("topic"), "filter", "topic"),
        one_of(MESSAGE_TYPES, filter.get("type"), "filter", "type"),
        subject and storable(subject),
        correlation_id and storable(correlation_id),
        filter.get("recordedAfter"),
        filter.get("recordedBefore"),
        decode(Cause, cause) if (cause := filter.get("cause")) else None,
    )


def _key(letter: DeadLetter) -> Key:
    return letter.recorded_at, letter.id


async def dead_letter_causes(_: Any, info: Info, limit: int | None = None) -> Sequence[LetterCause]:
    require_admin(info)
    most = limit_of(info, limit, default=20)
    return await info.context.loaders.budget.rows(info.context.engines.dead_letters.pending_by_cause, most)


async def dead_letter(_: Any, info: Info, id: str) -> DeadLetter:
    require_admin(info)
    letter = await from_stores(info.context.engines.dead_letters.load, UUID(uuid(id, "id")))
    return existing(letter, "dead letter", id)


async def retry_dead_letter(_: Any, info: Info, id: str, reason: Text = None) -> DeadLetter:
    await admin_command(info, "retry_dead_letters", {"id": id}, reason)
    return await dead_letter(_, info, id)


async def retry_dead_letters(_: Any, info: Info, reason: Text = None, **arguments: Any) -> Fields:
    command = {name: value for name, value in arguments.items() if value is not None}
    if "source" in command:
        command["source"] = one_of(_sources(), command["source"], "source")
    return await admin_command(info, "retry_dead_letters", command, reason)


async def discard_dead_letter(_: Any, info: Info, id: str, reason: str) -> DeadLetter:
    await admin_command(info, "discard_dead_letter", {"id": id, "reason": reason})
    return await dead_letter(_, info, id)


def _order_id(letter: DeadLetter, _info: Info) -> str | None:
    aggregate, _, aggregate_id = (letter.subject or "").partition("-")
    return aggregate_id if aggregate == ORDER.name else None


async def discard_dead_letters(_: Any, info: Info, reason: str, **arguments: Any) -> Fields:
    command = {name: value for name, value in arguments.items() if value is not None}
    return await admin_command(info, "discard_dead_letter", command | {"reason": reason})


RESOLVERS: Resolvers = {
    "Query": {
        "deadLetters": dead_letters,
        "deadLettersConnection": dead_letters_connection,
        "deadLetter": dead_letter,
        "deadLetterCauses": dead_letter_causes,
    },
    "Mutation": {
        "retryDeadLetter": retry_dead_letter,
        "retryDeadLetters": retry_dead_letters,
        "discardDeadLetter": discard_dead_letter,
        "discardDeadLetters": discard_dead_letters,
    },
    "DeadLetter": {"orderId": _order_id},
}
