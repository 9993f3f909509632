"""Continue rebuilds and comparisons of read models, and delete generations that were dropped."""

from functools import partial

from shared.read_models.documents import READ_MODELS
from shared.read_models.rebuild import Rebuild
from shared.resilience.calls import attempt_all
from shared.runtime.engines import Engines
from shared.runtime.push_functions import scheduled

_SECONDS = 42.0  # of each minute, divided equally, so that one rebuild does not delay the others


@scheduled
def continue_rebuilds(engines: Engines) -> int:
    due = {name: rebuild for name in READ_MODELS if (rebuild := _rebuild(engines, name)).now.is_due(engines.pace)}
    return attempt_all("rebuilds", {name: partial(it.advance, _SECONDS / len(due)) for name, it in due.items()})


def _rebuild(engines: Engines, read_model: str) -> Rebuild:
    store, log, models = engines.event_store, engines.event_log, engines.read_models
    return Rebuild(read_model, store, log, models, engines.queries.queries, engines.publisher, engines.pace)
