"""Publish dead letters again, each for the one consumer that gave it up."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from shared.domain.commands import RetryDeadLetters
from shared.messaging.dead_letter_store import Wanted, refuse
from shared.messaging.dead_letters import Again, DeadLetter
from shared.observability.context import current
from shared.runtime.commands import administrative
from shared.runtime.engines import Engines

_BATCH, _SECONDS = 10, 6.0  # a message may have 10 MB, and whoever asks waits for ten seconds


@administrative(RetryDeadLetters)
def retry_dead_letters(request: RetryDeadLetters, engines: Engines) -> dict[str, int]:
    """`left`: how many are still pending, also those whose turn has not come in the time there is."""
    if request.id:
        return {"retried": _retry(request.id, engines)}
    retried, tried, until = 0, list[UUID](), time.monotonic() + _SECONDS
    while retried < request.limit and time.monotonic() < until:
        batch = min(_BATCH, request.limit - retried)
        claimed = engines.dead_letters.claim(Wanted(source=request.source, without=tried), batch)
        if not claimed:
            break
        tried += [letter.id for letter in claimed]
        retried += _publish(claimed, engines)
    return {"retried": retried, "left": engines.dead_letters.pending(request.source)}


def _retry(letter_id: UUID, engines: Engines) -> int:
    if claimed := engines.dead_letters.claim(Wanted(letter_id), 1):
        return _publish(claimed, engines) or refuse(claimed[0], "RETRIED")
    return refuse(engines.dead_letters.load(letter_id), "RETRIED")


def _publish(claimed: Sequence[DeadLetter], engines: Engines) -> int:
    """How many were accepted. The others are pending again at once; all of them are, later, if this is killed."""
    letters, at, accepted = engines.dead_letters, datetime.now(UTC), set[UUID]()
    try:
        accepted |= {*engines.publisher.publish([Again(letter) for letter in claimed if letter.publishable])}
        letters.settle([letter for letter in claimed if letter.id in accepted], at, current().actor)
    finally:
        letters.release([letter for letter in claimed if letter.id not in accepted])
    return len(accepted)
