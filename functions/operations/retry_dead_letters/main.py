"""Publish dead letters again, each for the one consumer that gave it up."""

from uuid import UUID

from shared.config.manifest import manifest
from shared.dead_letters.protocol import LetterFilter, RetryDeadLetters, refuse, republish
from shared.domain.errors import ConcurrencyError, Rejected
from shared.observability.context import current
from shared.resilience import clock
from shared.runtime.command import administrative
from shared.runtime.engines import Engines

_BATCH, _SECONDS = 10, 6.0  # a message may have 10 MB, and whoever asks waits for ten seconds


@administrative(RetryDeadLetters)
def retry_dead_letters(request: RetryDeadLetters, engines: Engines) -> dict[str, int]:
    """`left`: how many are still pending, also those whose turn has not come in the time there is."""
    if request.id:
        return {"retried": _one(request.id, engines)}
    retried, tried, until = 0, list[UUID](), clock.monotonic() + _SECONDS
    while retried < request.limit and clock.monotonic() < until:
        published, claimed = _some(
            LetterFilter(None, request.source, tried), min(_BATCH, request.limit - retried), engines
        )
        if not claimed:
            break
        retried += published
        tried += claimed
    return {"retried": retried, "left": engines.dead_letters.pending(request.source)}


def _one(letter_id: UUID, engines: Engines) -> int:
    published, claimed = _some(LetterFilter(letter_id), 1, engines)
    if claimed and not published:
        raise Rejected("its data is not base64, or its consumer is no more; all one can do is discard it", ("id",))
    try:
        return published or refuse(engines.dead_letters.load(letter_id), "RETRIED")
    except ConcurrencyError:  # somebody else is retrying it at this moment
        return 0


def _some(wanted: LetterFilter, limit: int, engines: Engines) -> tuple[int, list[UUID]]:
    """How many were published, of which."""
    claimed = engines.dead_letters.claim(wanted, limit)
    consumers = {subscription.name for subscription in manifest().all_subscriptions}
    ready = [letter for letter in claimed if letter.publishable and letter.source in consumers]
    published = republish(engines.dead_letters, engines.publisher, claimed, ready, current().actor)
    return published, [letter.id for letter in claimed]
