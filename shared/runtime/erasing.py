"""Erase a person: destroy the key, then record that on each of the person's orders.

The first makes all that was written unreadable at once. The second lets read models, sagas and
clients know; it is repeated until no order is left, so it may stop between any two lines.
"""

from dataclasses import replace
from functools import partial

import structlog

from shared.domain.commands import EraseOrder
from shared.domain.errors import Rejected
from shared.domain.order import ORDER, erase
from shared.erasure.protocol import SETTLED, Erasure
from shared.observability.context import current, within
from shared.resilience import clock
from shared.resilience.calls import attempt_all
from shared.runtime.engines import Engines
from shared.runtime.execute import execute_step

_BATCH = 100
_log = structlog.get_logger()


def destroy_key(engines: Engines, user_id: str, by: str, reason: str) -> bool:
    """Destroy a person's key and return True; False for a person without one, who never ordered or
    is erased already.

    Raise Rejected while orders of the person are not encrypted.
    """
    if engines.event_log.has_unsealed(user_id):
        raise Rejected(
            "this user has orders from before orders were encrypted, which an erasure would not reach; run"
            " scripts/migrate --encrypt-orders, then erase again",
            ("user_id",),
        )
    erasure = engines.person_keys.destroy(user_id, by, reason)
    if erasure:
        _log.info("a person's key is destroyed", key=str(erasure.key))
    return erasure is not None


def record_erasures(engines: Engines, seconds: float) -> int:
    """Record erasures on orders for at most `seconds`, and return on how many orders.

    Raise an ExceptionGroup at the end when some could not be recorded; all others have been.
    """
    until, pending = clock.monotonic() + seconds, engines.person_keys.unfinished(_BATCH)
    return attempt_all("erasures", {str(one.key): partial(_record, engines, one, until) for one in pending})


def _record(engines: Engines, erasure: Erasure, until: float) -> int:
    done = 0
    while clock.monotonic() < until:
        streams = engines.event_log.of_key(erasure.key, _BATCH)
        done += attempt_all("orders", {stream: partial(_erase, engines, stream, until) for stream in streams})
        if not streams:
            _finish(engines, erasure)
            break
    return done


def _erase(engines: Engines, stream: str, until: float) -> int:
    if clock.monotonic() > until:
        return 0
    order_id = ORDER.id_of(stream)
    # Each with a correlation of its own: an order's timeline shows all that has one of its ids.
    with within(replace(current(), correlation_id=str(clock.new_id()))):
        execute_step(engines.event_store, erase, EraseOrder(order_id), ORDER.ref(order_id))
    return 1


def _finish(engines: Engines, erasure: Erasure) -> None:
    """Look no more for orders of the key once no request can be under way that creates one with
    it."""
    if erasure.age > SETTLED:
        engines.person_keys.finish(erasure)
