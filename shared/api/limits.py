"""Limit the cost of a query, measured before it runs, and the requests of a client per minute."""

from collections.abc import Mapping
from math import ceil
from typing import Any, Literal, NamedTuple

from graphql import (
    GraphQLError,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLObjectType,
    GraphQLSchema,
    SchemaMetaFieldDef,
    TypeMetaFieldDef,
    Visitor,
    get_named_type,
    get_nullable_type,
    visit,
)
from graphql.language import ast
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from shared.config.settings import Settings

_UNBOUNDED_LIST = 10  # assumed length of a list that has no argument `limit`
_INTROSPECTED_LIST = 5  # in introspection; a tool's usual query then costs a sixth of the limit
_READ_PER_FIELD = 10  # documents that are read but not returned, which cost as much as one field
_META_FIELDS = {"__schema": SchemaMetaFieldDef, "__type": TypeMetaFieldDef}


class Measure(NamedTuple):
    """`cost`: fields in the answer if every list is as long as allowed, plus documents read."""

    depth: int = 0
    aliases: int = 0
    cost: int = 0


def require_affordable(measured: Measure, settings: Settings) -> None:
    """Raise GraphQLError that names the limit when the query exceeds one."""
    for name, value, bound in (
        ("depth", measured.depth, settings.max_query_depth),
        ("number of aliases", measured.aliases, settings.max_query_aliases),
        ("cost", measured.cost, settings.max_query_cost),
    ):
        if value > bound:
            raise GraphQLError(f"the query's {name} is {value}; at most {bound} is allowed")


def require_validatable(document: ast.DocumentNode, settings: Settings) -> None:
    """Raise GraphQLError for a document so large that validating it would delay other requests.

    Validation compares fields of the same name with each other, so its time grows quadratically.
    """
    counter = _Counter()
    visit(document, counter)
    for what, number, bound in (
        ("fields", counter.fields, settings.max_query_fields),
        ("fragments", counter.spreads, settings.max_query_fragments),
    ):
        if number > bound:
            raise GraphQLError(f"the query has {number} {what}; at most {bound} are allowed")


class _Counter(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.fields = 0
        self.spreads = 0

    def enter_field(self, *_: Any) -> None:
        self.fields += 1

    def enter_fragment_spread(self, *_: Any) -> None:
        self.spreads += 1


class Meter:
    """Measures one operation; each fragment once, so that fragments can't make this expensive.

    `variables`: the operation's, with their defaults. A limit or offset above the settings' maximum
    counts as the maximum: the field's resolver refuses it with a better message.
    """

    def __init__(
        self, schema: GraphQLSchema, document: ast.DocumentNode, variables: Mapping[str, Any], settings: Settings
    ) -> None:
        self._schema = schema
        self._settings = settings
        self._variables = variables
        self._fragments = {n.name.value: n for n in document.definitions if isinstance(n, ast.FragmentDefinitionNode)}
        self._measured: dict[str, Measure] = {}

    def operation(self, operation: ast.OperationDefinitionNode) -> Measure:
        return self._selections(operation.selection_set, self._schema.get_root_type(operation.operation))

    def _selections(self, selections: ast.SelectionSetNode | None, parent: object) -> Measure:
        parts = [self._selection(node, parent) for node in (selections.selections if selections else ())]
        depth = max((part.depth for part in parts), default=0)
        return Measure(depth, sum(part.aliases for part in parts), sum(part.cost for part in parts))

    def _selection(self, node: ast.SelectionNode, parent: object) -> Measure:
        match node:
            case ast.FieldNode():
                return self._field(node, parent)
            case ast.FragmentSpreadNode():
                return self._fragment(node.name.value)
            case ast.InlineFragmentNode():
                condition = node.type_condition
                return self._selections(
                    node.selection_set, self._schema.get_type(condition.name.value) if condition else parent
                )
            case _:
                return Measure()

    def _fragment(self, name: str) -> Measure:
        if name not in self._measured:
            fragment = self._fragments[name]
            condition = self._schema.get_type(fragment.type_condition.name.value)
            self._measured[name] = self._selections(fragment.selection_set, condition)
        return self._measured[name]

    def _field(self, node: ast.FieldNode, parent: object) -> Measure:
        """Introspection has no depth, which the schema decides, but a cost: it can be repeated."""
        name = node.name.value
        if name == "__typename" or not isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
            return Measure()
        field = _META_FIELDS.get(name) or parent.fields[name]
        inner = self._selections(node.selection_set, get_named_type(field.type))
        aliases = inner.aliases + (1 if node.alias else 0)
        cost = 1 + self._length(node, field) * inner.cost + self._documents_skipped(node, field) // _READ_PER_FIELD
        return Measure(0 if name in _META_FIELDS else inner.depth + 1, aliases, cost)

    def _length(self, node: ast.FieldNode, field: GraphQLField) -> int:
        """Return how often the field's selections appear in the answer."""
        if not isinstance(get_nullable_type(field.type), GraphQLList):
            return 1
        if get_named_type(field.type).name.startswith("__"):
            return _INTROSPECTED_LIST
        limit = self._number(node, field, "limit")
        return _UNBOUNDED_LIST if limit is None else min(limit, self._settings.max_list_limit)

    def _documents_skipped(self, node: ast.FieldNode, field: GraphQLField) -> int:
        """Return how many documents the database reads that are not in the answer."""
        searched = self._settings.max_search_documents if "searchTerm" in field.args else 0
        return searched + min(self._number(node, field, "offset") or 0, self._settings.max_list_offset)

    def _number(self, node: ast.FieldNode, field: GraphQLField, name: str) -> int | None:
        """Return the argument's value, at least 0, or its default; None when it has neither."""
        given: Any = next((a.value for a in node.arguments or () if a.name.value == name), None)
        if isinstance(given, ast.IntValueNode):
            return max(0, int(given.value))
        if isinstance(given, ast.VariableNode) and isinstance(value := self._variables.get(given.name.value), int):
            return max(0, value)
        argument = field.args.get(name)
        default = argument.ast_node.default_value if argument and argument.ast_node else None
        return int(default.value) if isinstance(default, ast.IntValueNode) else None


class Rates:
    """Counts each client's requests in this process against a limit per minute.

    - A client gets at most the limit within a minute of the clock. The previous minute counts by the
      share of it that is less than a minute ago, so 60 seconds never see more than twice the limit.
    - Instances don't share counters: together they allow the limit times `max_instances`.
    - More than `max_clients` counters of addresses are all dropped, so that memory stays bounded;
      users have counters of their own, which are dropped in the same way.
    - The clock is the wall clock. After a jump the counters of that minute hold, mostly none, so
      no client is refused for more than two minutes.
    """

    def __init__(self, settings: Settings, max_clients: int = 10_000) -> None:
        self._limits = {"user": settings.rate_limit_signed_in, "address": settings.rate_limit_anonymous}
        self._max_clients = max_clients
        self._counters = {kind: MemoryStorage() for kind in self._limits}

    def seconds_until_allowed(self, kind: Literal["user", "address"], client: str) -> int:
        """Count a request. Return 0 if it is allowed, else the seconds until one will be."""
        limit = self._limits[kind]
        if len(self._counters[kind].expirations) > self._max_clients:
            self._counters[kind] = MemoryStorage()
        counters, rate = self._counters[kind], RateLimitItemPerMinute(limit)
        if limit == 0 or SlidingWindowCounterRateLimiter(counters).hit(rate, client):
            return 0
        return self._until_free(counters, rate.key_for(client), limit)

    def _until_free(self, counters: MemoryStorage, key: str, limit: int) -> int:
        """Return when the previous minute counts less; a full present minute must pass first."""
        before, before_left, now, now_left = counters.get_sliding_window(key, 60)
        seconds = before_left - (limit - now) * 60 / before if now < limit and before else now_left - 60
        return max(1, ceil(seconds + 0.001))
