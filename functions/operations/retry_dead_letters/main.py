"""Publish dead letters again, each for the one consumer that gave it up."""

import time
from datetime import UTC, datetime
from uuid import UUID

from shared.domain.commands import RetryDeadLetters
from shared.domain.errors import Rejected
from shared.messaging.dead_letter_store import Wanted, refuse
from shared.messaging.dead_letters import Again, DeadLetter
from shared.observability.context import current
from shared.runtime.commands import administrative
from shared.runtime.engines import Engines
from shared.runtime.manifest import manifest

_BATCH, _SECONDS = 10, 6.0  # a message may have 10 MB, and whoever asks waits for ten seconds


@administrative(RetryDeadLetters)
def retry_dead_letters(request: RetryDeadLetters, engines: Engines) -> dict[str, int]:
    """`left`: how many are still pending, also those whose turn has not come in the time there is."""
    if request.id:
        return {"retried": _retry(request.id, engines)}
    retried, tried, until = 0, list[UUID](), time.monotonic() + _SECONDS
    while retried < request.limit and time.monotonic() < until:
        wanted = Wanted(source=request.source, without=tried)
        if not (claimed := engines.dead_letters.claim(wanted, min(_BATCH, request.limit - retried))):
            break
        tried += [letter.id for letter in claimed]
        retried += _publish(claimed, engines)
    return {"retried": retried, "left": engines.dead_letters.pending(request.source)}


def _retry(letter_id: UUID, engines: Engines) -> int:
    claimed = engines.dead_letters.claim(Wanted(letter_id), 1)
    if claimed and not _publish(claimed, engines):
        raise Rejected("its data is not base64, or its consumer is no more; all one can do is discard it", ("id",))
    return len(claimed) or refuse(engines.dead_letters.load(letter_id), "RETRIED")


def _publish(claimed: list[DeadLetter], engines: Engines) -> int:
    """How many were accepted. The others are pending again at once; all of them are, later, if this is killed."""
    letters, at, accepted = engines.dead_letters, datetime.now(UTC), set[UUID]()
    consumers = {subscription.name for subscription in manifest().all_subscriptions}
    ready = [Again(letter) for letter in claimed if letter.publishable and letter.source in consumers]
    try:
        accepted |= {*engines.publisher.publish(ready)}
        letters.settle([letter for letter in claimed if letter.id in accepted], at, current().actor)
    finally:
        letters.release([letter for letter in claimed if letter.id not in accepted])
    return len(accepted)
