"""Mutations as a table: which command function each calls, and how its arguments make the command."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from uuid_utils.compat import uuid7

from shared.api.context import Info
from shared.auth.permissions import Permission, require
from shared.domain.errors import Path, ShopError
from shared.read_models.protocol import Fields

Resolver = Callable[..., Coroutine[Any, Any, Any]]


@dataclass(frozen=True)
class Mutation:
    """`permission`: the one that the command function asks for again. `id_field`: the command's id, taken from the
    argument `id` or made here for something new."""

    function: str
    permission: Permission
    id_field: str
    answer: Callable[[Fields], Any]


def _entity(entity: Fields) -> Fields:
    return entity


def _deleted(entity: Fields) -> Fields:
    return {"success": True, "message": f"{entity['name']} has been deleted"}


def _ordered(entity: Fields) -> Fields:
    return {"success": True, "order": entity, "message": f"the order is {entity['status']}"}


def _cancelling(entity: Fields) -> Fields:
    return {"success": True, "order": entity, "message": "the order is being cancelled, or has ended already"}


MUTATIONS: Mapping[str, Mutation] = {
    "createCategory": Mutation("create_category", Permission.ADMIN, "categoryId", _entity),
    "updateCategory": Mutation("update_category", Permission.ADMIN, "categoryId", _entity),
    "deleteCategory": Mutation("delete_category", Permission.ADMIN, "categoryId", _deleted),
    "createProduct": Mutation("create_product", Permission.ADMIN, "productId", _entity),
    "updateProduct": Mutation("update_product", Permission.ADMIN, "productId", _entity),
    "changeProductPrice": Mutation("change_product_price", Permission.ADMIN, "productId", _entity),
    "adjustStock": Mutation("adjust_stock", Permission.ADMIN, "productId", _entity),
    "deleteProduct": Mutation("delete_product", Permission.ADMIN, "productId", _deleted),
    "createOrder": Mutation("create_order", Permission.WRITE, "orderId", _ordered),
    "cancelOrder": Mutation("cancel_order", Permission.WRITE, "orderId", _cancelling),
}


def resolver(mutation: Mutation) -> Resolver:
    async def resolve(_: Any, info: Info, **arguments: Any) -> Any:
        request = info.context
        require(mutation.permission, request.actor)
        try:
            command = _command(mutation, arguments)
            answer = await request.commands.send(mutation.function, command, request.context, request.actor)
        except ShopError as error:
            error.field = tuple(_argument(mutation, arguments, error.field))
            raise
        return mutation.answer(answer["entity"])

    return resolve


def _command(mutation: Mutation, arguments: Mapping[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in arguments.items() if name not in ("id", "input")}
    return {
        **arguments.get("input", {}),
        **rest,
        mutation.id_field: arguments["id"] if "id" in arguments else str(uuid7()),
    }


def _argument(mutation: Mutation, arguments: Mapping[str, Any], field: Path) -> Path:
    """Where the fault lies in the mutation's arguments, given where it lies in the command."""
    if not field:
        return ()
    if field[0] in (mutation.id_field, "id"):
        return ("id",)
    return ("input", *field) if "input" in arguments else field
