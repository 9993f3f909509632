"""Go on with read models that are being rebuilt, and delete those that were dropped."""

from functools import partial

from shared.read_models.project import FED_BY
from shared.read_models.rebuild import Rebuild
from shared.runtime.engines import Engines
from shared.runtime.manifest import subscription_of
from shared.runtime.push_functions import scheduled

_SECONDS = 12.0  # for each read model, so that none keeps the others waiting


@scheduled
def continue_rebuilds(engines: Engines) -> int:
    return sum(_rebuild(engines, read_model).go_on(_SECONDS) for read_model in FED_BY)


def _rebuild(engines: Engines, read_model: str) -> Rebuild:
    subscription = partial(subscription_of, f"project_{read_model}")
    return Rebuild(
        read_model, engines.event_log, engines.read_models, engines.queries.queries, engines.publisher, subscription
    )
