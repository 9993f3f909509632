"""What is stuck now and why: in the whole shop, and for one order; and the last run of each
schedule."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any
from uuid import UUID

from shared.api.context import Info, Resolvers
from shared.api.inputs import uuid
from shared.api.limits import from_stores
from shared.api.resolvers.backlogs import LAG_SECONDS
from shared.api.resolvers.common import existing, is_admin, require_admin
from shared.api.resolvers.projections import lags
from shared.auth.permissions import require_self
from shared.domain.errors import ShopError
from shared.domain.order import ORDER, Order
from shared.event_store.aggregates import load
from shared.monitoring import stuck as found_by
from shared.monitoring import stuck_sagas
from shared.monitoring.schedules import Run, runs
from shared.monitoring.stuck import Kind, Stuck, causes_first
from shared.monitoring.stuck_order import Outcome, outcome
from shared.observability.context import annotate
from shared.observability.sentences import said
from shared.read_models.documents import sources_of
from shared.read_models.protocol import Fields
from shared.resilience.calls import deadline
from shared.runtime.engines import Engines

_CACHE_SECONDS = 1.0


async def stuck(_: Any, info: Info, kinds: Sequence[Kind] | None = None) -> Sequence[Stuck]:
    require_admin(info)
    engines = info.context.engines
    found = await engines.cache.get("what is stuck", _CACHE_SECONDS, partial(_stuck, engines))
    return [one for one in found if kinds is None or one.kind in kinds]


async def _stuck(engines: Engines) -> Sequence[Stuck]:
    """Ask every store at the same time. One that does not answer in time is itself an entry."""
    letters = engines.dead_letters

    async def read_models() -> list[Stuck]:
        known, stops = await asyncio.gather(lags(engines, LAG_SECONDS), engines.queries.stops())
        sources = {name: _subscriptions(name) for name in known}
        troubles = await from_stores(letters.troubles, [*chain(*sources.values())])
        errors = {
            name: next((troubles[one].error for one in names if troubles[one].error), None)
            for name, names in sources.items()
        }
        late = [one for one in found_by.read_models(known, errors) if one.subject not in stops]
        return found_by.stopped(stops) + late

    async def rebuilds() -> list[Stuck]:
        return found_by.rebuilds(await engines.queries.generations())

    event_outbox, saga_outbox = engines.outboxes
    parts: Sequence[tuple[str, Callable[[], Awaitable[list[Stuck]]]]] = [
        ("command_database", partial(from_stores, stuck_sagas.sagas, engines.sagas, letters, engines.order_saga.saga)),
        ("command_database", partial(from_stores, found_by.dead_letters, letters)),
        ("command_database", partial(from_stores, _dependencies, engines)),
        ("command_database", partial(from_stores, _schedules, engines)),
        ("command_database", partial(from_stores, found_by.outboxes, {"saga_outbox": saga_outbox})),
        ("event_store", partial(from_stores, found_by.outboxes, {"event_outbox": event_outbox})),
        ("event_store", partial(from_stores, found_by.event_log, engines.event_log)),
        ("firestore", read_models),
        ("firestore", rebuilds),
    ]
    with deadline(engines.settings.health_check_seconds):
        answers = await asyncio.gather(*(_part(engines, name, read) for name, read in parts))
    by_place = {(one.kind, one.subject, one.dead_letters): one for one in chain(*answers)}
    listed = Counter(one.kind for one in by_place.values())
    return causes_first(replace(one, of_kind=one.of_kind or listed[one.kind]) for one in by_place.values())


async def _part(engines: Engines, name: str, read: Callable[[], Awaitable[list[Stuck]]]) -> list[Stuck]:
    try:
        async with asyncio.timeout(engines.settings.health_check_seconds):
            return await read()
    except (ShopError, TimeoutError) as error:
        reason = error.message if isinstance(error, ShopError) else "no answer in time"
        return [Stuck("DEPENDENCY", name, said("ANSWER"), said("DO_SEE_HEALTH", store=name), last_error=reason)]


def _subscriptions(read_model: str) -> list[str]:
    topics = {f"{source.aggregate.name}-events" for source in sources_of(read_model)}
    return [f"project-{read_model}.{topic}" for topic in sorted(topics)]


def _dependencies(engines: Engines) -> list[Stuck]:
    return found_by.dependencies(engines.dead_letters, engines.counts.executions(), engines.breakers.states())


def _runs(engines: Engines) -> list[Run]:
    return runs(engines.executions, engines.counts.executions())


def _schedules(engines: Engines) -> list[Stuck]:
    return found_by.schedules(_runs(engines), engines.checkup.began_at)


async def schedules(_: Any, info: Info) -> list[Fields]:
    engines = info.context.engines
    return [
        {
            "name": run.function.name,
            "every_seconds": run.seconds,
            "status": run.status(engines.checkup.began_at),
            "last_run_at": run.last_run_at,
            "last_success_at": run.succeeded_at,
            "runs": run.runs,
            "failures": run.failures,
            "last_error": run.last_error if is_admin(info) else None,
            "last_error_at": run.failed_at,
        }
        for run in await from_stores(_runs, engines)
    ]


async def why_stuck(_: Any, info: Info, orderId: str) -> Fields:
    """Read the event store and not the read model, which may be what is late. Raise NotFound and
    Forbidden."""
    engines, order_id = info.context.engines, UUID(uuid(orderId, "orderId"))
    annotate(subject=ORDER.stream(order_id))
    (loaded,) = await from_stores(load, engines.event_store, [ORDER.ref(order_id)])
    order: Order = existing(loaded.state if loaded.version else None, "order", orderId, "orderId")
    require_self(order.user_id, info.context.actor)
    applied, lag = await _applied(engines, order_id, loaded.version, is_admin(info))
    found = existing(await from_stores(outcome, engines, order_id, applied), "order", orderId, "orderId")
    facts = causes_first([*found.facts, *lag])
    first = facts[0] if facts else None
    return {
        "order_id": str(order_id),
        "status": order.status.value,
        "stuck": first is not None,
        "kind": first.kind if first else None,
        "answer": Outcome(found.now, facts).sentence,
        "what_to_do": first.what_to_do if first else said("DO_NOTHING"),
        "facts": facts if is_admin(info) else [replace(one, last_error=None) for one in facts],
    }


async def _applied(engines: Engines, order_id: UUID, version: int, to_admin: bool) -> tuple[int | None, list[Stuck]]:
    """Return the version of the order's document, None if unknown, and that it lags if it does."""
    try:
        found = await engines.queries.get_many("orders", [str(order_id)])
    except ShopError as error:
        look = said("DO_SEE_HEALTH", store="firestore")
        return None, [Stuck("DEPENDENCY", "firestore", said("ANSWER"), look, last_error=error.message)]
    applied = int(found.get(str(order_id), {}).get("version", 0))
    if applied >= version:
        return applied, []
    if stop := (await engines.queries.stops()).get("orders"):
        return applied, found_by.stopped({"orders": stop}, named=to_admin)
    waiting_for = said("PROJECTION_TO_APPLY_OF_ORDER", projection="project_orders", events=version - applied)
    fix = said("DO_SEE_QUERY_SERVICE", projection="project_orders")
    return applied, [Stuck("READ_MODEL", "orders", waiting_for, fix)]


RESOLVERS: Resolvers = {
    "Query": {"stuck": stuck, "whyStuck": why_stuck, "schedules": schedules},
    "Stuck": {
        "waitingFor": lambda one, _: str(one.waiting_for),
        "waitingForPhrases": lambda one, _: one.waiting_for.shown,
        "whatToDo": lambda one, _: str(one.what_to_do),
        "whatToDoPhrases": lambda one, _: one.what_to_do.shown,
    },
    "WhyStuck": {
        "answer": lambda why, _: str(why["answer"]),
        "answerPhrases": lambda why, _: why["answer"].shown,
        "whatToDo": lambda why, _: str(why["what_to_do"]),
        "whatToDoPhrases": lambda why, _: why["what_to_do"].shown,
    },
}
