"""An aggregate: a name, events, an initial state, their fold, and places in the tree."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache, reduce
from typing import Any, Generic, TypeVar, get_args
from uuid import UUID

from shared.domain.errors import Invalid, Path
from shared.domain.faults import shown

State = TypeVar("State")
_ID_LENGTH = len("-00000000-0000-0000-0000-000000000000")


class Lifecycle(Enum):
    ABSENT = "absent"
    ACTIVE = "active"
    DELETED = "deleted"


@dataclass(frozen=True)
class Place:
    """Put `stream` below `parent` (None: at the top). `name`: unique among siblings unless None.

    Categories and products on sale form one tree. The event store enforces its rules in the append:
    a parent exists, siblings have different names, a stream with children is not removed, and no
    stream lies below itself.
    """

    stream: str
    parent: str | None
    name: str | None


@dataclass(frozen=True)
class Remove:
    stream: str


Placement = Place | Remove


@dataclass(frozen=True, eq=False)
class Aggregate(Generic[State]):
    """`events`: the union of its event types. `placement`: how an event changes the tree.
    `snapshot_schema`: raise it with the shape of the state; older snapshots are then ignored."""

    name: str
    initial: State
    evolve: Callable[[State, Any], State]
    events: Any
    placement: Callable[[Any], Placement | None] | None = None
    snapshot_schema: int = 1

    def stream(self, aggregate_id: UUID) -> str:
        return f"{self.name}-{aggregate_id}"

    def id_of(self, stream: str, field: Path = ()) -> UUID:
        """Return the id of a stream. Raise Invalid at `field` for another aggregate's stream."""
        aggregate_id = _id_of(self.name, stream) if len(stream) == len(self.name) + _ID_LENGTH else None
        if aggregate_id is None:
            raise Invalid(f"{shown(stream)} is no stream of a {self.name}", field)
        return aggregate_id

    def stream_of(self, event: object) -> str:
        return self.stream(getattr(event, f"{self.name}_id"))

    def ref(self, aggregate_id: UUID) -> "Ref[State]":
        return Ref(self, aggregate_id)

    def fold(self, events: Iterable[Any], state: State | None = None) -> State:
        return reduce(self.evolve, events, self.initial if state is None else state)

    @property
    def event_types(self) -> tuple[type[Any], ...]:
        return get_args(self.events)

    @property
    def topic(self) -> str:
        return topic_of(self.name)


@lru_cache(4096)
def _id_of(aggregate: str, stream: str) -> UUID | None:
    """Return the id of the aggregate's stream, None for another stream. A process asks for the same
    few again and again."""
    try:
        aggregate_id = UUID(stream.removeprefix(f"{aggregate}-"))
    except ValueError:
        return None
    return aggregate_id if f"{aggregate}-{aggregate_id}" == stream else None


def topic_of(stream: str) -> str:
    """Return the topic for the events of a stream, or of the aggregate with this name."""
    return f"{stream.partition('-')[0]}-events"


@dataclass(frozen=True)
class Ref(Generic[State]):
    """One aggregate by its id."""

    aggregate: Aggregate[State]
    id: UUID

    @cached_property
    def stream(self) -> str:
        return self.aggregate.stream(self.id)
