"""Publish dead letters again, each only for the consumer that could not process it."""

from uuid import UUID

from shared.config.manifest import manifest
from shared.dead_letters.commands import RetryDeadLetters, left, refuse
from shared.dead_letters.protocol import LetterFilter
from shared.domain.errors import ConcurrencyError, Rejected
from shared.resilience import clock
from shared.runtime.command import admin_command
from shared.runtime.engines import Engines
from shared.runtime.execute import Call

_BATCH, _SECONDS = 10, 6.0  # a message may have 10 MB, and the client waits for ten seconds


@admin_command(RetryDeadLetters)
def retry_dead_letters(command: RetryDeadLetters, engines: Engines, call: Call) -> dict[str, int]:
    """Return how many letters were published; `left`: how many are still pending."""
    if command.id:
        published, claimed = _retry(LetterFilter(command.id), 1, engines, call)
        if claimed and not published:
            raise Rejected("its data is not base64, or its consumer no longer exists; you can only discard it", ("id",))
        try:
            return {"retried": published or refuse(engines.dead_letters.load(command.id), "RETRIED")}
        except ConcurrencyError:  # another caller is retrying it at this moment
            return {"retried": 0}
    retried, tried, until = 0, list[UUID](), clock.monotonic() + _SECONDS
    while retried < command.limit and clock.monotonic() < until:
        untried = LetterFilter(None, command.source, tried, command.cause)
        published, claimed = _retry(untried, min(_BATCH, command.limit - retried), engines, call)
        if not claimed:
            break
        retried += published
        tried += claimed
    return {"retried": retried, "left": left(engines.dead_letters, command)}


def _retry(wanted: LetterFilter, limit: int, engines: Engines, call: Call) -> tuple[int, list[UUID]]:
    """Claim and publish letters. Return how many were published, and the claimed ones' ids."""
    letters, at, accepted = engines.dead_letters, clock.now(), set[UUID]()
    claimed = letters.claim(wanted, limit)
    consumers = {subscription.name for subscription in manifest().all_subscriptions}
    messages = [letter.for_its_subscription() for letter in claimed if letter.source in consumers]
    try:
        accepted |= {*engines.publisher.publish([message for message in messages if message])}
        letters.settle([letter for letter in claimed if letter.id in accepted], at, call.actor.name)
    finally:
        letters.release([letter for letter in claimed if letter.id not in accepted])
    return len(accepted), [letter.id for letter in claimed]
