"""Listings of read models, of which clients read pages."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from shared.api.connections import Listing
from shared.api.context import Info
from shared.postgres.slices import Key, Slice
from shared.read_models.protocol import Fields, Find, Where


class Order(NamedTuple):
    """`name`: in cursors. `field`: of the documents. `key_type`: of that field and the id."""

    name: str
    field: str
    key_type: Any


def documents(
    info: Info, collection: str, where: Sequence[Where], order: Order, arguments: Mapping[str, Any]
) -> Listing[Fields]:
    """Return the listing of a collection's documents, sorted by a field and then by id."""

    def key(document: Fields) -> Key:
        return document[order.field], document["id"]

    def place(key: Key | None) -> Fields | None:
        return {order.field: key[0], "id": key[1]} if key else None

    async def read(part: Slice) -> Sequence[Fields]:
        ends = {"after": place(part.after), "before": place(part.before), "closed": part.closed}
        find = Find(collection, order.field, where, part.descending, part.limit, **ends)  # type: ignore[arg-type]
        return await info.context.loaders.find(find)

    async def count() -> tuple[int, int]:
        number = await info.context.queries.count(collection, where)
        return number, number

    return Listing(order.name, order.key_type, key, read, count, descending=is_descending(arguments))


def is_descending(arguments: Mapping[str, Any]) -> bool:
    return arguments.get("sortOrder") == "DESC"
