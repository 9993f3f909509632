"""Discard the dead letters of commands that their saga no longer awaits."""

from collections.abc import Mapping, Sequence
from functools import cache

from shared.config.manifest import manifest
from shared.dead_letters.protocol import DeadLetter, DeadLetters
from shared.domain.errors import Invalid
from shared.domain.order import ORDER
from shared.messaging.envelope import SUBJECT, topic
from shared.sagas.definition import Saga
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from shared.sagas.outlook import awaited
from shared.sagas.releases import command_name
from shared.sagas.store import SagaStore

_MOST = 100  # letters of one subscription in one sweep; the next sweep goes on


@cache
def step_subscriptions() -> Mapping[str, str]:
    """Return the subscription that brings each command of the order's saga, by the command's
    name."""
    by_topic = {one.topic: one.name for one in manifest().all_subscriptions}
    commands = {command_name(kind): topic(kind) for kind in ORDER_FULFILMENT.commands if isinstance(kind, type)}
    return {name: by_topic[of] for name, of in commands.items() if of in by_topic}


def discard_all_overtaken(letters: DeadLetters, sagas: SagaStore, saga: Saga) -> int:
    """Discard the pending letters that are overtaken and return how many there were."""
    pending = {one.source for one in letters.pending_by_source()}
    steps = sorted(pending & {*step_subscriptions().values()})
    found = [letter for source in steps for letter in letters.latest(_MOST, 0, "PENDING", source)]
    return discard_overtaken(letters, sagas, saga, found)


def discard_overtaken(letters: DeadLetters, sagas: SagaStore, saga: Saga, found: Sequence[DeadLetter]) -> int:
    """Discard those of these pending letters that are overtaken, and return how many there were."""
    reasons = {letter.id: reason for letter in found if (reason := _overtaken(sagas, saga, letter))}
    return sum(letters.discard(letter_id, reason, "system") for letter_id, reason in reasons.items())


def _overtaken(sagas: SagaStore, saga: Saga, letter: DeadLetter) -> str | None:
    """Return why the letter's saga no longer awaits its command; None when it does, or is
    unknown."""
    if letter.subject is None or step_subscriptions().get(letter.type or "") != letter.source:
        return None
    try:
        stored = sagas.load(ORDER.id_of(letter.subject, SUBJECT))
    except Invalid:  # not a message of this shop
        return None
    if stored is None:
        return None
    if stored.progress.ended:
        return f"the saga has ended {stored.progress.status.value} without it"
    now = awaited(saga, stored.progress)
    return None if now == letter.type else f"the saga has moved on: it awaits the outcome of {now}"
