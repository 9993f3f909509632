"""Accept the documents of clients that were written for an earlier schema."""

from graphql import DocumentNode, ListTypeNode, NamedTypeNode, NonNullTypeNode, OperationDefinitionNode, Visitor, visit

_ELEMENTS = frozenset({"OrderItemInput"})
"""Input types whose lists once had nullable elements: a client may still declare
`[OrderItemInput]!`."""


class _NonNullElements(Visitor):
    def enter_list_type(self, node: ListTypeNode, *_: object) -> ListTypeNode | None:
        element = node.type
        if isinstance(element, NamedTypeNode) and element.name.value in _ELEMENTS:
            return ListTypeNode(type=NonNullTypeNode(type=element), loc=node.loc)
        return None


def with_current_types(document: DocumentNode) -> DocumentNode:
    """Return the document with the types of its variables as the schema has them now."""
    if not any(isinstance(one, OperationDefinitionNode) and one.variable_definitions for one in document.definitions):
        return document
    changed: DocumentNode = visit(document, _NonNullElements())
    return changed
