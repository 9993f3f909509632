"""Mutations as a table: which command function each calls, and how its arguments make the command."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from graphql.pyutils import Path as ResponsePath

from shared.api.context import Info
from shared.auth.permissions import Permission, require
from shared.domain.errors import Invalid, Path, ShopError
from shared.monitoring.recorder import watched
from shared.observability.context import Context, caused_by
from shared.read_models.protocol import Fields
from shared.resilience import clock

_KEYS = UUID("5f0c2f6e-52f5-4c2e-9a2e-0d9c2a5b7d11")
"""The namespace of keys made from clients' keys."""

Resolver = Callable[..., Coroutine[Any, Any, Any]]


@dataclass(frozen=True)
class Mutation:
    """`permission`: the one that the command function asks for again. `id_field`: what the command calls the entity's id,
    which is the argument `id`, or for something new made by the command function."""

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
        context = keyed(info)
        try:
            answer = await send(info, mutation.function, _command(mutation, arguments), context)
        except ShopError as error:
            error.field = tuple(_argument(mutation, arguments, error.field))
            raise
        request.written[answer["stream"]] = answer["version"]
        return mutation.answer(answer["entity"])

    return resolve


def keyed(info: Info) -> Context:
    """The request's context under the field's own idempotency key. Raises Invalid for a key that could not be kept."""
    return caused_by(info.context.context, _key(info.context.idempotency_key, info.path))


async def send(info: Info, function: str, command: dict[str, Any], context: Context) -> dict[str, Any]:
    """The answer of a command function, remembered in the history of executions."""
    request = info.context
    name = function.title().replace("_", "")  # create_order is CreateOrder
    with watched(request.engines.recorder, "command", name, context, command) as watch:
        answer = await request.commands.send(function, command, context, request.actor)
        watch.subject, watch.version = answer.get("stream"), answer.get("version")
    return answer


def _key(given: str | None, path: ResponsePath) -> str:
    """A request may hold several mutations, each under a key of its own, made of the client's and its response path."""
    if given is None:
        return str(clock.new_id())
    if not (0 < len(given) <= 200 and given.isascii() and given.isprintable()):
        raise Invalid("the header Idempotency-Key must be 1 to 200 printable ASCII characters", ("Idempotency-Key",))
    return str(uuid5(_KEYS, "/".join([*map(str, path.as_list()), given])))


def _command(mutation: Mutation, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Something new gets its id from the command function, so that the same request is the same command again."""
    rest = {name: value for name, value in arguments.items() if name not in ("id", "input")}
    there = {mutation.id_field: arguments["id"]} if "id" in arguments else {}
    return {**arguments.get("input", {}), **rest, **there}


def _argument(mutation: Mutation, arguments: Mapping[str, Any], field: Path) -> Path:
    """Where the fault lies in the mutation's arguments, given where it lies in the command."""
    if not field:
        return ()
    if field[0] in (mutation.id_field, "id"):
        return ("id",)
    return ("input", *field) if "input" in arguments else field
