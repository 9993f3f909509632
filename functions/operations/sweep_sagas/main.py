"""Fire the deadlines of sagas that have passed, and discard the dead letters that their sagas have
overtaken."""

from shared.resilience import clock
from shared.runtime.engines import Engines
from shared.runtime.push_functions import scheduled
from shared.sagas.overtaken import discard_all_overtaken


@scheduled
def sweep_sagas(engines: Engines) -> int:
    fired = engines.order_saga.sweep(clock.now())
    discard_all_overtaken(engines.dead_letters, engines.sagas, engines.order_saga.saga)
    return fired
