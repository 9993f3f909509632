"""Discard the dead letters of commands that their saga no longer awaits."""

from collections.abc import Mapping, Sequence
from functools import cache
from uuid import UUID

from shared.config.manifest import manifest
from shared.dead_letters.protocol import DeadLetter, DeadLetters
from shared.domain.errors import Invalid
from shared.domain.order import ORDER
from shared.messaging.envelope import SUBJECT, topic
from shared.sagas.definition import Progress, Saga, command_name
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from shared.sagas.outlook import awaited
from shared.sagas.store import SagaStore

_PAGE = 100  # letters


@cache
def step_subscriptions() -> Mapping[str, str]:
    """Return the subscription that brings each command of the order's saga, by the command's
    name."""
    by_topic = {one.topic: one.name for one in manifest().all_subscriptions}
    commands = {command_name(kind): topic(kind) for kind in ORDER_FULFILMENT.commands if isinstance(kind, type)}
    return {name: by_topic[of] for name, of in commands.items() if of in by_topic}


def discard_all_overtaken(letters: DeadLetters, sagas: SagaStore, saga: Saga) -> int:
    """Discard the pending letters that are overtaken and return how many there were."""
    steps = sorted({*letters.pending_sources()} & {*step_subscriptions().values()})
    return sum(_discard_of(source, letters, sagas, saga) for source in steps)


def _discard_of(source: str, letters: DeadLetters, sagas: SagaStore, saga: Saga) -> int:
    """Discard those of a subscription's pending letters that are overtaken, page by page."""
    discarded = stay = 0
    while page := letters.latest(_PAGE, stay, "PENDING", source):
        gone = discard_overtaken(letters, sagas, saga, page)
        discarded, stay = discarded + gone, stay + len(page) - gone
    return discarded


def discard_overtaken(letters: DeadLetters, sagas: SagaStore, saga: Saga, found: Sequence[DeadLetter]) -> int:
    """Discard those of these pending letters that are overtaken, and return how many there were."""
    senders = {letter.id: saga_id for letter in found if (saga_id := _sender(letter))}
    stored = sagas.load_many({*senders.values()})
    known = [letter for letter in found if senders.get(letter.id) in stored]
    overtaken = {letter.id: _overtaken(saga, stored[senders[letter.id]].progress, letter) for letter in known}
    return sum(letters.discard(letter_id, reason, "system") for letter_id, reason in overtaken.items() if reason)


def _sender(letter: DeadLetter) -> UUID | None:
    """Return the id of the saga that has sent the letter's command; None for other messages."""
    if letter.subject is None or step_subscriptions().get(letter.type or "") != letter.source:
        return None
    try:
        return ORDER.id_of(letter.subject, SUBJECT)
    except Invalid:  # not a message of this shop
        return None


def _overtaken(saga: Saga, progress: Progress, letter: DeadLetter) -> str | None:
    """Return why the saga no longer awaits the letter's command; None when it does."""
    if progress.ended:
        return f"the saga has ended {progress.status.value} without it"
    now = awaited(saga, progress)
    return None if now == letter.type else f"the saga has moved on: it awaits the outcome of {now}"
