"""Charge a request for its query, and for what it reads, as it is read."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from graphql.language import ast

from shared.api.limits import UNBOUNDED_LIST, Measured, from_stores, require_affordable
from shared.config.settings import Settings
from shared.domain.errors import Invalid
from shared.event_store.protocol import LogEntry, PositionedEvent
from shared.sagas.store import ListedSaga

T = TypeVar("T")

COST_OF_RECORD = 10  # of a document or a row, in fields of an answer, which take about as long as one
COST_OF_EVENT = 2  # of an event that is only folded
COST_OF_LINE = 2  # of a line of an order
_LISTS_AT_ONCE = 2


class Budget:
    """The cost of one request: of its query as measured, and of what it reads, as it is read.

    A request reads few lists at once, so that it can't read many beyond its budget.
    """

    def __init__(self, settings: Settings) -> None:
        self._most = settings.max_query_cost
        self._spent = 0
        self._turns = asyncio.Semaphore(_LISTS_AT_ONCE)
        self._per_entry: Mapping[int, int] = {}

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Read one list inside the block. Raise Invalid when the budget is spent."""
        async with self._turns:
            self.spend(0)
            yield

    async def rows(self, call: Callable[..., Sequence[T]], *args: Any) -> Sequence[T]:
        """Return a list that a call reads from PostgreSQL, and charge for it. Raise Invalid when
        the budget is spent."""
        async with self.turn():
            found = await from_stores(call, *args)
            self.spend(sum(map(cost_of, found)))
            return found

    def charge(self, measured: Measured, settings: Settings) -> None:
        """Charge for an operation. Raise GraphQLError when it exceeds a limit."""
        require_affordable(measured.whole, settings)
        self._per_entry = measured.per_entry
        self.spend(measured.whole.cost)

    def charge_list(self, nodes: Sequence[ast.FieldNode], length: int) -> None:
        """Charge for a list without `limit` that is longer than was assumed. Raise Invalid when the
        budget is spent."""
        each = sum(self._per_entry.get(id(node), 0) for node in nodes)
        self.spend(max(0, length - UNBOUNDED_LIST) * each)

    def spend(self, cost: int) -> None:
        """Raise Invalid when the request has spent more than it may."""
        self._spent += cost
        if self._spent > self._most:
            raise Invalid(
                f"the query reads too much: its cost has reached {self._spent}, at most {self._most} is allowed;"
                " ask for fewer past states or searches, or for shorter lists"
            )


def cost_of(record: object) -> int:
    """Return the cost of a document or a row, which grows with an order's lines and a saga's
    history."""
    match record:
        case PositionedEvent() | LogEntry():
            return cost_of(record.event.data)
        case ListedSaga():
            return COST_OF_RECORD + len(record.history)
        case {"items": lines}:
            return COST_OF_RECORD + COST_OF_LINE * len(lines)
        case _:
            return COST_OF_RECORD
