"""Resume a stuck saga, or start the one of an order that never got any."""

from shared.domain.commands import RetrySaga
from shared.observability.context import current
from shared.runtime.commands import administrative
from shared.runtime.engines import Engines


@administrative(RetrySaga)
def retry_saga(request: RetrySaga, engines: Engines) -> dict[str, int]:
    engines.order_saga.retry(request.id, current().actor)
    return {"retried": 1}
