"""Fire the deadlines of sagas that have passed, and discard the dead letters that their sagas have
overtaken."""

from shared.resilience import clock
from shared.resilience.calls import attempt_all
from shared.runtime.engines import Engines
from shared.runtime.push_functions import scheduled
from shared.sagas.overtaken import discard_all_overtaken


@scheduled
def sweep_sagas(engines: Engines) -> int:
    letters, sagas, saga = engines.dead_letters, engines.sagas, engines.order_saga
    return attempt_all(
        "sweeping",
        {
            "deadlines": lambda: saga.sweep(clock.now()),
            "overtaken dead letters": lambda: discard_all_overtaken(letters, sagas, saga.saga),
        },
    )
