"""Fire the deadlines of sagas that have passed."""

from shared.resilience import clock
from shared.runtime.engines import Engines
from shared.runtime.push_functions import scheduled


@scheduled
def sweep_sagas(engines: Engines) -> int:
    return engines.order_saga.sweep(clock.now())
