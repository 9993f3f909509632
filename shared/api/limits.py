"""Measure a query before it runs, and limit a client's share of the threads."""

import asyncio
import contextvars
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Literal, NamedTuple, TypeVar
from weakref import WeakValueDictionary

import graphql
from graphql import GraphQLError
from graphql.language import ast

from shared.config.settings import Settings
from shared.domain.errors import TimedOut
from shared.resilience import clock
from shared.resilience.calls import time_left

T = TypeVar("T")

DEFAULT_PAGE = 20  # edges of a connection that is asked for without `first` and `last`
_MAX_CALL_SECONDS = 15.0
_THREADS = {"stores": 16, "tokens": 8, "documents": 2}
_THREADS_PER_CLIENT = {"stores": 3, "tokens": 3, "documents": 1}  # stores: fewer than `pool_size`, to leave others one
UNBOUNDED_LIST = 10  # assumed length of a list that has no argument `limit`
_INTROSPECTED_LIST = 5  # in introspection; a tool's usual query then costs a sixth of the limit
_SKIPPED_PER_FIELD = 10  # documents that an offset skips, in the database alone, cost as much as a field
_META_FIELDS = {"__schema": graphql.SchemaMetaFieldDef, "__type": graphql.TypeMetaFieldDef}


class Measure(NamedTuple):
    """`cost`: fields in the answer if every list is as long as allowed, plus documents skipped."""

    depth: int = 0
    aliases: int = 0
    cost: int = 0


class Measured(NamedTuple):
    """An operation's measure. `per_entry`: the cost of an entry of each list whose length was
    assumed, by the id of its field's node."""

    whole: Measure
    per_entry: Mapping[int, int]


def require_affordable(measured: Measure, settings: Settings) -> None:
    """Raise GraphQLError that names the limit when the query exceeds one."""
    for name, value, bound in (
        ("depth", measured.depth, settings.max_query_depth),
        ("number of aliases", measured.aliases, settings.max_query_aliases),
        ("cost", measured.cost, settings.max_query_cost),
    ):
        if value > bound:
            raise GraphQLError(f"the query's {name} is {value}; at most {bound} is allowed")


class Meter:
    """Measures one operation; each fragment once, so that fragments can't make this expensive.

    `variables`: the operation's, with their defaults. A limit or offset above the settings' maximum
    counts as the maximum: the field's resolver refuses it with a better message.
    """

    def __init__(
        self,
        schema: graphql.GraphQLSchema,
        document: ast.DocumentNode,
        variables: Mapping[str, Any],
        settings: Settings,
    ) -> None:
        self._settings = settings
        self._per_entry: dict[int, int] = {}
        self._schema = schema
        self._variables = variables
        self._fragments = {n.name.value: n for n in document.definitions if isinstance(n, ast.FragmentDefinitionNode)}
        self._measured: dict[tuple[str, int], Measure] = {}

    def operation(self, operation: ast.OperationDefinitionNode) -> Measured:
        root = self._schema.get_root_type(operation.operation)
        return Measured(self._selections(operation.selection_set, root), self._per_entry)

    def _selections(self, selections: ast.SelectionSetNode | None, parent: object, page: int = 0) -> Measure:
        """`page`: the number of edges if the parent is a connection."""
        parts = [self._selection(node, parent, page) for node in (selections.selections if selections else ())]
        depth = max((part.depth for part in parts), default=0)
        return Measure(depth, sum(part.aliases for part in parts), sum(part.cost for part in parts))

    def _selection(self, node: ast.SelectionNode, parent: object, page: int) -> Measure:
        match node:
            case ast.FieldNode():
                return self._field(node, parent, page)
            case ast.FragmentSpreadNode():
                return self._fragment(node.name.value, page)
            case ast.InlineFragmentNode():
                condition = node.type_condition
                return self._selections(
                    node.selection_set, self._schema.get_type(condition.name.value) if condition else parent, page
                )
            case _:
                return Measure()

    def _fragment(self, name: str, page: int) -> Measure:
        if (name, page) not in self._measured:
            fragment = self._fragments[name]
            condition = self._schema.get_type(fragment.type_condition.name.value)
            self._measured[name, page] = self._selections(fragment.selection_set, condition, page)
        return self._measured[name, page]

    def _field(self, node: ast.FieldNode, parent: object, page: int) -> Measure:
        """Introspection has no depth, which the schema decides, but a cost: it can be repeated."""
        name = node.name.value
        if name == "__typename" or not isinstance(parent, graphql.GraphQLObjectType | graphql.GraphQLInterfaceType):
            return Measure()
        field = _META_FIELDS.get(name) or parent.fields[name]
        inner = self._selections(node.selection_set, graphql.get_named_type(field.type), self._edges(node, field))
        aliases = inner.aliases + (1 if node.alias else 0)
        length = page if name == "edges" else self._length(node, field)
        if name != "edges" and "limit" not in field.args:
            self._per_entry[id(node)] = inner.cost
        cost = 1 + length * inner.cost + self._skipped(node, field)
        return Measure(0 if name in _META_FIELDS else inner.depth + 1, aliases, cost)

    def _length(self, node: ast.FieldNode, field: graphql.GraphQLField) -> int:
        """Return how often the field's selections appear in the answer."""
        if not isinstance(graphql.get_nullable_type(field.type), graphql.GraphQLList):
            return 1
        if graphql.get_named_type(field.type).name.startswith("__"):
            return _INTROSPECTED_LIST
        limit = self._number(node, field, "limit")
        return UNBOUNDED_LIST if limit is None else min(limit, self._settings.max_list_limit)

    def _edges(self, node: ast.FieldNode, field: graphql.GraphQLField) -> int:
        """Return how many edges a connection has at most; 0 for another field."""
        if "first" not in field.args:
            return 0
        lengths = (self._number(node, field, "first"), self._number(node, field, "last"))
        asked = next((length for length in lengths if length is not None), DEFAULT_PAGE)
        return min(asked, self._settings.max_list_limit)

    def _skipped(self, node: ast.FieldNode, field: graphql.GraphQLField) -> int:
        """Return the cost of the documents that the field's offset skips."""
        return min(self._number(node, field, "offset") or 0, self._settings.max_list_offset) // _SKIPPED_PER_FIELD

    def _number(self, node: ast.FieldNode, field: graphql.GraphQLField, name: str) -> int | None:
        """Return the argument's value, at least 0, or its default; None when it has neither."""
        given: Any = next((a.value for a in node.arguments or () if a.name.value == name), None)
        if isinstance(given, ast.IntValueNode):
            return max(0, int(given.value))
        if isinstance(given, ast.VariableNode) and isinstance(value := self._variables.get(given.name.value), int):
            return max(0, value)
        argument = field.args.get(name)
        default = argument.ast_node.default_value if argument and argument.ast_node else None
        return int(default.value) if isinstance(default, ast.IntValueNode) else None


_client: contextvars.ContextVar[str] = contextvars.ContextVar("client", default="")
_shares: WeakValueDictionary[tuple[object, str, str], asyncio.Semaphore] = WeakValueDictionary()


@contextmanager
def working_for(client: str) -> Iterator[None]:
    """Count the calls of `from_stores` inside the block to this client's share."""
    token = _client.set(client)
    try:
        yield
    finally:
        _client.reset(token)


async def from_stores(call: Callable[..., T], *args: Any) -> T:
    """Run a call that waits for PostgreSQL in a thread. Raise TimedOut.

    Of each client at most `_THREADS_PER_CLIENT` calls of a kind run at the same time: one client's
    expensive calls leave threads to the others. A call keeps its place until it ends, even when its
    request has not waited for it. What is computed for all clients has no limit.
    """
    return await in_thread("stores", call, *args)


async def in_thread(kind: Literal["stores", "tokens", "documents"], call: Callable[..., T], *args: Any) -> T:
    """Run a call that blocks or computes for long in a thread. Raise TimedOut when the request's
    time is up.

    Each kind has its own threads, so hung calls leave the other kind its threads. Not anyio: its
    limiter counts a hung call as finished once its request is, so hung threads would pile up.
    """
    loop, client = asyncio.get_running_loop(), _client.get()
    places = (_THREADS_PER_CLIENT if client else _THREADS)[kind]
    share = _shares.setdefault((loop, kind, client), asyncio.Semaphore(places))

    def leave(_: object) -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it every call that waits
            loop.call_soon_threadsafe(share.release)

    try:
        async with asyncio.timeout(time_left(_MAX_CALL_SECONDS)):
            await share.acquire()
            future = clock.shared_executor(_THREADS[kind], kind).submit(contextvars.copy_context().run, call, *args)
            future.add_done_callback(leave)
            return await asyncio.wrap_future(future)
    except TimeoutError as error:
        raise TimedOut("no answer in time") from error
