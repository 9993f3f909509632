"""Resume a stuck saga, or start the one of an order that never got any."""

from shared.observability.context import current
from shared.runtime.command import administrative
from shared.runtime.engines import Engines
from shared.sagas.store import RetrySaga


@administrative(RetrySaga)
def retry_saga(request: RetrySaga, engines: Engines) -> dict[str, int]:
    engines.order_saga.retry(request.id, current().actor)
    return {"retried": 1}
