"""Record erasures on orders that erase_person had no time for, or that were just being created."""

from shared.runtime.engines import Engines
from shared.runtime.erasing import record_erasures
from shared.runtime.push_functions import scheduled


@scheduled
def continue_erasures(engines: Engines) -> int:
    return record_erasures(engines, seconds=40)
