"""The history of one aggregate: each event with the states before and after it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple
from uuid import UUID

from pydantic.alias_generators import to_camel

from shared.api.budget import COST_OF_EVENT, COST_OF_LINE
from shared.api.context import Info, Number, Resolvers
from shared.api.inputs import uuid
from shared.api.resolvers.common import limit_of
from shared.api.resolvers.events import events_for_actor
from shared.domain.errors import Invalid, NotFound
from shared.domain.order import AGGREGATES
from shared.domain.personal import PERSONAL
from shared.event_store.aggregates import Loaded, history, initial, snapshot_of
from shared.event_store.protocol import EventStore, PositionedEvent
from shared.read_models.protocol import Fields
from shared.runtime.execute import entity

_TIMES = {"created_at", "updated_at"}
"""Fields of an entity that are times of its events, not parts of its state."""


class _Step(NamedTuple):
    event: PositionedEvent
    before: Loaded[Any]
    after: Loaded[Any]


async def event_history(
    _: Any, info: Info, aggregateId: str, limit: Number = 100, afterVersion: Number = None
) -> Sequence[Fields]:
    """Return each event of an aggregate with the states before and after it and their
    differences."""
    aggregate_id, after = UUID(uuid(aggregateId, "aggregateId")), afterVersion or 0
    length = limit_of(info, limit, default=100)
    if after < 0:
        raise Invalid(f"afterVersion must be 0 or the version of an event; got {after}", ("afterVersion",))
    budget = info.context.loaders.budget
    spend = partial(budget.spend, COST_OF_EVENT)
    steps = await budget.rows(_steps, info.context.engines.event_store, aggregate_id, (after, length), spend)
    budget.spend(sum(map(_cost_of_states, steps)))
    events = await events_for_actor(info, [step.event for step in steps])
    return [_history_entry(info, step, event) for step, event in zip(steps, events, strict=True)]


def _cost_of_states(step: _Step) -> int:
    """Return the cost of an entry's states: the lines of an order are in the event, both states and
    their changes."""
    return 4 * COST_OF_LINE * len(getattr(step.after.state, "items", ()))


def _steps(store: EventStore, aggregate_id: UUID, page: tuple[int, int], spend: Callable[[], None]) -> Sequence[_Step]:
    """Return a page of steps, folded from the snapshot unless it is newer. Raise NotFound for an
    unknown id."""
    after, length = page
    for aggregate in AGGREGATES.values():
        ref = aggregate.ref(aggregate_id)
        snapshot = snapshot_of(store, ref)
        steps = _steps_since(store, snapshot if snapshot and snapshot.version <= after else initial(ref), spend)
        first = next(steps, None)
        if first or snapshot:
            return list(islice((step for step in chain([first], steps) if step and step.after.version > after), length))
    raise NotFound(f"no aggregate has the id {aggregate_id}", ("aggregateId",))


def _steps_since(store: EventStore, before: Loaded[Any], spend: Callable[[], None]) -> Iterator[_Step]:
    for entry, loaded in history(store, before):
        spend()
        yield _Step(PositionedEvent(entry.checkpoint.position, entry.event), before, loaded)
        before = loaded


def _state(loaded: Loaded[Any]) -> Fields:
    return {} if loaded.version == 0 else {name: value for name, value in entity(loaded).items() if name not in _TIMES}


def _history_entry(info: Info, step: _Step, event: Fields) -> Fields:
    was, became = _state(step.before), _state(step.after)
    visible = info.context.actor.may_see(became.get("user_id", ""))
    before, after = (state if visible else _masked_state(state) for state in (was, became))
    changed = [name for name, value in became.items() if name not in was or was[name] != value]
    return {
        "event": event,
        "before": _in_camel_case(before) if before else None,
        "after": _in_camel_case(after),
        "changes": [
            {
                "field": to_camel(name),
                "before": _in_camel_case(before.get(name)),
                "after": _in_camel_case(after[name]),
            }
            for name in changed
        ],
    }


def _masked_state(state: Fields) -> Fields:
    return {name: "***" if name in PERSONAL and value is not None else value for name, value in state.items()}


def _in_camel_case(value: Any) -> Any:
    """Rename the keys of a state, at every depth, to the names that the API uses."""
    if isinstance(value, Mapping):
        return {to_camel(name): _in_camel_case(inner) for name, inner in value.items()}
    return [_in_camel_case(inner) for inner in value] if isinstance(value, list) else value


RESOLVERS: Resolvers = {"Query": {"eventHistory": event_history}}
