"""What an admin does with dead letters."""

from typing import Annotated
from uuid import UUID

from pydantic import Strict

from shared.dead_letters.protocol import DeadLetter, LetterStatus
from shared.domain.commands import wire_command
from shared.domain.errors import ConcurrencyError, NotFound, Rejected
from shared.domain.values import Reason, Token, in_range


@wire_command
class RetryDeadLetters:
    """Retry the letter with this id; without an id, the oldest pending ones (of a source)."""

    id: UUID | None = None
    source: Token | None = None
    limit: Annotated[int, Strict(), in_range(1, 1000)] = 100


@wire_command
class DiscardDeadLetters:
    """Discard the letter with this id; without an id, the oldest pending ones (of a source)."""

    reason: Reason
    id: UUID | None = None
    source: Token | None = None
    limit: Annotated[int, Strict(), in_range(1, 1000)] = 100


def refuse(letter: DeadLetter | None, wanted: LetterStatus) -> int:
    """Raise why a letter could not get a status; return 0 when it has that status already."""
    if letter is None:
        raise NotFound("there is no dead letter with this id", ("id",))
    if letter.status == wanted:
        return 0
    if letter.status != "PENDING":
        raise Rejected(f"the dead letter has been {letter.status.lower()} already", ("id",))
    raise ConcurrencyError("another request is retrying this dead letter; try again in a few seconds", ("id",))
