"""Go on with read models that are being rebuilt, and delete those that were dropped."""

from functools import partial

from shared.config.manifest import subscription_of
from shared.read_models.project import FED_BY
from shared.read_models.rebuild import Rebuild
from shared.runtime.engines import Engines
from shared.runtime.push_functions import scheduled

_SECONDS = 36.0  # in equal parts, so that none keeps the others waiting


@scheduled
def continue_rebuilds(engines: Engines) -> int:
    due = [one for one in (_rebuild(engines, read_model) for read_model in FED_BY) if one.is_due]
    done, failures = 0, list[Exception]()
    for one in due:
        try:
            done += one.go_on(_SECONDS / len(due))
        except Exception as error:  # which must not keep the others waiting either
            failures.append(error)
    if failures:
        raise failures[0]
    return done


def _rebuild(engines: Engines, read_model: str) -> Rebuild:
    subscription = partial(subscription_of, f"project_{read_model}")
    return Rebuild(
        read_model, engines.event_log, engines.read_models, engines.queries.queries, engines.publisher, subscription
    )
