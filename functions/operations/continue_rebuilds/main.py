"""Go on with read models that are being rebuilt, and delete those that were dropped."""

from shared.read_models.documents import READ_MODELS
from shared.read_models.rebuild import Rebuild
from shared.runtime.engines import Engines
from shared.runtime.push_functions import scheduled

_SECONDS = 36.0  # in equal parts, so that none keeps the others waiting


@scheduled
def continue_rebuilds(engines: Engines) -> int:
    due = [one for one in (_rebuild(engines, read_model) for read_model in READ_MODELS) if one.is_due]
    done, failures = 0, list[Exception]()
    for one in due:
        try:
            done += one.advance(_SECONDS / len(due))
        except Exception as error:  # which must not keep the others waiting either
            failures.append(error)
    if failures:
        raise failures[0]
    return done


def _rebuild(engines: Engines, read_model: str) -> Rebuild:
    return Rebuild(
        read_model, engines.event_log, engines.read_models, engines.queries.queries, engines.publisher, engines.pace
    )
