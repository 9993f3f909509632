"""What a query may cost, found before it runs: depth, aliases, and an estimate of the fields it will answer with."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SchemaMetaFieldDef,
    SelectionNode,
    SelectionSetNode,
    TypeMetaFieldDef,
    VariableNode,
    Visitor,
    get_named_type,
    get_nullable_type,
    visit,
)

from shared.config.settings import Settings

_UNBOUNDED_LIST = 10  # assumed length of a list that has no argument `limit`
_INTROSPECTED_LIST = 5  # the same in introspection, so that a tool's usual query is about a sixth of what is allowed
_LOOKED_PAST_FOR_ONE = 10  # documents that are read and not shown, which cost as much as one field
_META_FIELDS = {"__schema": SchemaMetaFieldDef, "__type": TypeMetaFieldDef}


class Measure(NamedTuple):
    """`cost`: fields in the answer, every list as long as its limit allows, and what is read on the way to them."""

    depth: int = 0
    aliases: int = 0
    cost: int = 0


def require_affordable(measured: Measure, settings: Settings) -> None:
    """Raise GraphQLError saying which limit the query exceeds."""
    for name, value, bound in (
        ("depth", measured.depth, settings.max_query_depth),
        ("number of aliases", measured.aliases, settings.max_query_aliases),
        ("cost", measured.cost, settings.max_query_cost),
    ):
        if value > bound:
            raise GraphQLError(f"the query's {name} is {value}; at most {bound} is allowed")


def require_modest(document: DocumentNode, settings: Settings) -> None:
    """Raise GraphQLError for a document so large that validating it would keep others waiting.

    Validation compares fields of the same name with each other, so its time grows with the square of their number.
    """
    counted = _Counter()
    visit(document, counted)
    for what, number, bound in (
        ("fields", counted.fields, settings.max_query_fields),
        ("fragments", counted.spreads, settings.max_query_fragments),
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
    """Measures one operation. Each fragment is measured once, so that fragments can't make measuring expensive.

    `variables`: as the operation will see them, its own defaults included. A limit or offset beyond what `settings` allow
    counts as what they allow; it is refused by the field itself, which says so better.
    """

    def __init__(
        self, schema: GraphQLSchema, document: DocumentNode, variables: Mapping[str, Any], settings: Settings
    ) -> None:
        self._schema = schema
        self._settings = settings
        self._variables = variables
        self._fragments = {n.name.value: n for n in document.definitions if isinstance(n, FragmentDefinitionNode)}
        self._measured: dict[str, Measure] = {}

    def operation(self, operation: OperationDefinitionNode) -> Measure:
        return self._selections(operation.selection_set, self._schema.get_root_type(operation.operation))

    def _selections(self, selections: SelectionSetNode | None, parent: object) -> Measure:
        parts = [self._selection(node, parent) for node in (selections.selections if selections else ())]
        depth = max((part.depth for part in parts), default=0)
        return Measure(depth, sum(part.aliases for part in parts), sum(part.cost for part in parts))

    def _selection(self, node: SelectionNode, parent: object) -> Measure:
        match node:
            case FieldNode():
                return self._field(node, parent)
            case FragmentSpreadNode():
                return self._fragment(node.name.value)
            case InlineFragmentNode():
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

    def _field(self, node: FieldNode, parent: object) -> Measure:
        """How deep introspection is, is the schema's doing; how often it is asked for in one query, the client's."""
        name = node.name.value
        if name == "__typename" or not isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
            return Measure()
        field = _META_FIELDS.get(name) or parent.fields[name]
        inner = self._selections(node.selection_set, get_named_type(field.type))
        aliases = inner.aliases + (1 if node.alias else 0)
        cost = 1 + self._length(node, field) * inner.cost + self._looked_past(node, field) // _LOOKED_PAST_FOR_ONE
        return Measure(0 if name in _META_FIELDS else inner.depth + 1, aliases, cost)

    def _length(self, node: FieldNode, field: GraphQLField) -> int:
        """How often the field's selections are answered."""
        if not isinstance(get_nullable_type(field.type), GraphQLList):
            return 1
        if get_named_type(field.type).name.startswith("__"):
            return _INTROSPECTED_LIST
        limit = self._number(node, field, "limit")
        return _UNBOUNDED_LIST if limit is None else min(limit, self._settings.max_list_limit)

    def _looked_past(self, node: FieldNode, field: GraphQLField) -> int:
        """Documents that the database reads without their being shown."""
        searched = self._settings.max_search_documents if "searchTerm" in field.args else 0
        return searched + min(self._number(node, field, "offset") or 0, self._settings.max_list_offset)

    def _number(self, node: FieldNode, field: GraphQLField, name: str) -> int | None:
        """An argument that is at least 0, or its default; None where it has neither."""
        given: Any = next((a.value for a in node.arguments or () if a.name.value == name), None)
        if isinstance(given, IntValueNode):
            return max(0, int(given.value))
        if isinstance(given, VariableNode) and isinstance(value := self._variables.get(given.name.value), int):
            return max(0, value)
        argument = field.args.get(name)
        default = argument.ast_node.default_value if argument and argument.ast_node else None
        return int(default.value) if isinstance(default, IntValueNode) else None
