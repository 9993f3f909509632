"""The life of one aggregate, event by event: the state before each, the state after it, and what differs."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple
from uuid import UUID

from pydantic.alias_generators import to_camel

from shared.api.context import Info, from_stores
from shared.api.history import PERSONAL, shown
from shared.api.queries import page_of, uuid
from shared.domain.aggregate import Ref
from shared.domain.errors import Invalid, NotFound
from shared.domain.order import AGGREGATES
from shared.event_store.aggregates import Loaded, history
from shared.event_store.protocol import EventStore, PositionedEvent
from shared.read_models.protocol import Fields
from shared.runtime.execute import entity

_TIMES = {"created_at", "updated_at"}
"""The events' own, and so no part of the state."""


class Step(NamedTuple):
    seen: PositionedEvent
    before: Fields
    after: Fields


async def event_history(
    _: Any, info: Info, aggregateId: str, limit: int | None = 100, afterVersion: int | None = None
) -> Sequence[Fields]:
    aggregate_id = UUID(uuid(aggregateId, "aggregateId"))
    length, _offset = page_of({"limit": limit}, info.context.engines.settings, default=100)
    if (afterVersion or 0) < 0:
        raise Invalid("afterVersion must be 0 or the version of an event that was seen", ("afterVersion",))
    steps = await from_stores(_page, info.context.engines.event_store, aggregate_id, afterVersion or 0, length)
    events = await shown(info, [step.seen for step in steps])
    return [_fields(info, step, event) for step, event in zip(steps, events, strict=True)]


def _page(store: EventStore, aggregate_id: UUID, after: int, length: int) -> list[Step]:
    """Raises NotFound. The states are folded from the first event on, so a later page of a long life takes longer."""
    steps = chain.from_iterable(_steps(store, aggregate_id, name) for name in AGGREGATES)
    first = next(steps, None)
    if first is None:
        raise NotFound(f"nothing has the id {aggregate_id}", ("aggregateId",))
    return list(islice((step for step in chain([first], steps) if step.seen.event.version > after), length))


def _steps(store: EventStore, aggregate_id: UUID, name: str) -> Iterator[Step]:
    before: Fields = {}
    ref: Ref[Any] = AGGREGATES[name].ref(aggregate_id)
    for entry, loaded in history(store, ref):
        after = _state(loaded)
        yield Step(PositionedEvent(entry.checkpoint.position, entry.event), before, after)
        before = after


def _state(loaded: Loaded[Any]) -> Fields:
    return {name: value for name, value in entity(loaded).items() if name not in _TIMES}


def _fields(info: Info, step: Step, event: Fields) -> Fields:
    hidden = frozenset[str]() if info.context.actor.may_see(step.after.get("user_id", "")) else PERSONAL
    before, after = _masked(step.before, hidden), _masked(step.after, hidden)
    return {
        "event": event,
        "before": _named(before) if before else None,
        "after": _named(after),
        "changes": [
            {"field": to_camel(name), "before": _named(before.get(name)), "after": _named(after[name])}
            for name, value in step.after.items()
            if name not in step.before or step.before[name] != value
        ],
    }


def _masked(state: Fields, hidden: frozenset[str]) -> dict[str, Any]:
    return {name: "***" if name in hidden and value is not None else value for name, value in state.items()}


def _named(value: Any) -> Any:
    """The same with the names that the API has for things."""
    if isinstance(value, Mapping):
        return {to_camel(name): _named(one) for name, one in value.items()}
    return [_named(one) for one in value] if isinstance(value, list) else value
