"""Dead letters, for admins: queries, retrying and discarding."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from shared.api.context import Info, Number, Resolvers, Text
from shared.api.limits import from_stores
from shared.api.resolvers.common import admin_command, existing, page_of, printable, require_admin, uuid
from shared.dead_letters.protocol import DeadLetter, LetterStatus
from shared.domain.order import ORDER
from shared.read_models.protocol import Fields


async def dead_letters(
    _: Any, info: Info, status: LetterStatus | None = None, source: Text = None, **page: Number
) -> Sequence[DeadLetter]:
    require_admin(info)
    limit, offset = page_of(info, page, default=50)
    latest = info.context.engines.dead_letters.latest
    return await info.context.loaders.budget.rows(latest, limit, offset, status, printable(source, "source"))


async def dead_letter(_: Any, info: Info, id: str) -> DeadLetter:
    require_admin(info)
    letter = await from_stores(info.context.engines.dead_letters.load, UUID(uuid(id, "id")))
    return existing(letter, "dead letter", id)


async def retry_dead_letter(_: Any, info: Info, id: str) -> DeadLetter:
    await admin_command(info, "retry_dead_letters", {"id": id})
    return await dead_letter(_, info, id)


async def retry_dead_letters(_: Any, info: Info, **arguments: Any) -> Fields:
    command = {name: value for name, value in arguments.items() if value is not None}
    return await admin_command(info, "retry_dead_letters", command)


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
    "Query": {"deadLetters": dead_letters, "deadLetter": dead_letter},
    "Mutation": {
        "retryDeadLetter": retry_dead_letter,
        "retryDeadLetters": retry_dead_letters,
        "discardDeadLetter": discard_dead_letter,
        "discardDeadLetters": discard_dead_letters,
    },
    "DeadLetter": {"orderId": _order_id},
}
