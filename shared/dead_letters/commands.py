"""What an admin does with dead letters."""

from typing import Annotated
from uuid import UUID

from pydantic import Strict

from shared.dead_letters.failures import Cause
from shared.dead_letters.protocol import DeadLetter, DeadLetters, Letters, LetterStatus
from shared.domain.commands import wire_command
from shared.domain.errors import ConcurrencyError, NotFound, Rejected
from shared.domain.values import Reason, Token, in_range


@wire_command
class RetryDeadLetters:
    """Retry the letter with this id; without an id, the oldest pending ones (of a source, or of a
    cause)."""

    id: UUID | None = None
    source: Token | None = None
    cause: Cause | None = None
    limit: Annotated[int, Strict(), in_range(1, 1000)] = 100


@wire_command
class DiscardDeadLetters:
    """Discard the letter with this id; without an id, the oldest pending ones (of a source, or of a
    cause)."""

    reason: Reason
    id: UUID | None = None
    source: Token | None = None
    cause: Cause | None = None
    limit: Annotated[int, Strict(), in_range(1, 1000)] = 100


def left(letters: DeadLetters, command: RetryDeadLetters | DiscardDeadLetters) -> int:
    """Return how many letters of the command's source and cause are still pending."""
    return letters.count(Letters("PENDING", command.source, cause=command.cause))


def refuse(letter: DeadLetter | None, wanted: LetterStatus) -> int:
    """Raise why a letter could not get a status; return 0 when it has that status already."""
    if letter is None:
        raise NotFound("there is no dead letter with this id", ("id",))
    if letter.status == wanted:
        return 0
    if letter.status != "PENDING":
        raise Rejected(f"the dead letter has been {letter.status.lower()} already", ("id",))
    raise ConcurrencyError("another request is retrying this dead letter; try again in a few seconds", ("id",))
