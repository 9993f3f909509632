"""Keep the data of stores in memory while their process is replaced by one with newer code.

Kept are events, sagas, outboxes, dead letters, executions, counts, read models, and the messages
that are on their way; the sandbox provider's ledger is a file. Not kept are connections of clients,
which come back with the id of the last event that they saw, and what a process counts for itself:
metrics, rate limits, circuit breakers.
"""

import pickle
from pathlib import Path
from typing import Any

from shared.runtime.engines import Engines

_STORES = ("memory_models", "encrypted_events", "person_keys", "sagas", "dead_letters", "executions", "counts")
_DATA = (dict, list, set, tuple, int, float, str)  # not locks, threads and the other stores


def save(engines: Engines, file: Path) -> None:
    """Write the data of the stores that this process keeps in memory. Their process must answer no
    request any more."""
    everything = {name: _data(store) for name, store in _stores(engines).items()}
    file.write_bytes(pickle.dumps((everything, engines.broker.unacknowledged())))


def load(engines: Engines, file: Path) -> None:
    """Fill the stores with what `save` wrote, and deliver the messages. Raise an error of any kind
    when the code has changed so that it does not read the data."""
    everything, deliveries = pickle.loads(file.read_bytes())  # noqa: S301 - written by this program
    for name, store in _stores(engines).items():
        vars(store).update(everything.get(name, {}))
    engines.broker.take_over(deliveries)


def _stores(engines: Engines) -> dict[str, object]:
    if engines.settings.profile != "memory":
        return {"memory_models": engines.memory_models}
    outboxes = {f"outbox {number}": outbox for number, outbox in enumerate(engines.outboxes)}
    return {name: getattr(engines, name) for name in _STORES} | outboxes


def _data(store: object) -> dict[str, Any]:
    return {name: value for name, value in vars(store).items() if isinstance(value, _DATA)}
