"""A service that kills itself as `kill -9` would, the first time its work reaches a certain moment.

Otherwise it is the service itself: the same functions under the functions framework.
"""

import os
import signal
from functools import wraps
from typing import Any

from shared.event_store.postgres import PostgresEventStore
from shared.messaging.postgres import PostgresOutbox
from shared.messaging.pubsub import PubSubPublisher
from shared.read_models.by_generation import EveryGeneration
from shared.sagas.postgres import PostgresSagaStore

MOMENTS: dict[str, tuple[str, list[tuple[type[Any], str]]]] = {
    "before publishing": ("before", [(PubSubPublisher, "publish")]),
    "after publishing": ("after", [(PubSubPublisher, "publish")]),
    "after claiming": ("after", [(PostgresOutbox, "claim")]),
    "before appending": ("before", [(PostgresEventStore, "append")]),
    "after appending": ("after", [(PostgresEventStore, "append")]),
    "after saving the saga": ("after", [(PostgresSagaStore, "save")]),
    "after writing the read model": ("after", [(EveryGeneration, "update")]),
}


def arm(moment: str, about: str) -> None:
    """Let this process die at the moment. `about` chooses which work: the name of an event, a
    command or a collection."""
    when, methods = MOMENTS[moment]
    for owner, name in methods:
        setattr(owner, name, _deadly(getattr(owner, name), when, about))


def _deadly(method: Any, when: str, about: str) -> Any:
    @wraps(method)
    def call(*arguments: Any) -> Any:
        if when == "before" and about in repr(arguments):
            os.kill(os.getpid(), signal.SIGKILL)
        answer = method(*arguments)
        if when == "after" and about in repr((arguments, answer)):
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return call
