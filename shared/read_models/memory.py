"""The query database in memory, for tests and for `scripts/dev --memory`."""

import copy
import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from threading import RLock
from typing import Any

from shared.postgres.slices import Slice
from shared.read_models.protocol import Change, Extent, Fields, Find, MakeChange, Where

_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    ">=": operator.ge,
    "<=": operator.le,
    "<": operator.lt,
    "in": lambda value, among: value in among,
    "array_contains_any": lambda values, wanted: any(value in values for value in wanted),
}


class MemoryReadModels:
    """Both sides. `reads` counts the round trips of queries, by collection."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._collections: dict[str, dict[str, Fields]] = {}
        self.reads = Counter[str]()

    def update(self, collection: str, key: str, change: MakeChange, version: int | None = None) -> None:
        with self._lock:
            made = change(copy.deepcopy(self._collections.get(collection, {}).get(key)))
            if made is None:
                return
            self._document(collection, key).update(copy.deepcopy(made.fields))
            for increment in made.increments:
                owner = self._document(increment.collection, increment.key)
                owner.update(increment.about)
                owner.update({name: owner.get(name, 0) + amount for name, amount in increment.amounts.items()})

    def create(self, collection: str, changes: Mapping[str, Change]) -> int:
        with self._lock:
            new = changes.keys() - self._collections.get(collection, {}).keys()
            for key in new:
                self.update(collection, key, lambda _, key=key: changes[key])  # type: ignore[misc]
            return len(new)

    def delete(self, collection: str, limit: int) -> int:
        with self._lock:
            documents = self._collections.get(collection, {})
            deleted = list(documents)[:limit]
            for key in deleted:
                del documents[key]
            return len(deleted)

    def _document(self, collection: str, key: str) -> Fields:
        return self._collections.setdefault(collection, {}).setdefault(key, {})

    async def get_many(self, collection: str, keys: Sequence[str], only: Sequence[str] = ()) -> Mapping[str, Fields]:
        with self._lock:
            self.reads[collection] += 1
            documents = self._collections.get(collection, {})
            found = {key: documents[key] for key in keys if key in documents}
            return copy.deepcopy({key: _only(only, fields) for key, fields in found.items()})

    async def find(self, find: Find) -> Sequence[Fields]:
        with self._lock:
            self.reads[find.collection] += 1
            documents = self._collections.get(find.collection, {}).items()
            found = [
                (key, fields) for key, fields in documents if find.order_by in fields and _fits(fields, find.where)
            ]
            after, before = [(end[find.order_by], end["id"]) if end else None for end in (find.after, find.before)]
            wanted = Slice(find.offset + find.limit, find.descending, after, before, find.closed)
            chosen = wanted.of(found, lambda item: (item[1][find.order_by], item[0]))
            page = [copy.deepcopy(_only(find.only, fields)) for _, fields in chosen[find.offset :]]
        for fields in page:
            find.on_read(fields)
        return page

    async def count(self, collection: str, where: Sequence[Where]) -> int:
        with self._lock:
            self.reads[collection] += 1
            return sum(_fits(fields, where) for fields in self._collections.get(collection, {}).values())

    async def extent(self, collection: str) -> Extent:
        with self._lock:
            self.reads[collection] += 1
            applied = [fields for fields in self._collections.get(collection, {}).values() if "version" in fields]
            updated_at = max((fields["updated_at"] for fields in applied), default=None)
            return Extent(len(applied), sum(fields["version"] for fields in applied), updated_at)


def _only(names: Sequence[str], fields: Fields) -> Fields:
    return {name: fields[name] for name in names or fields if name in fields}


def _fits(fields: Fields, where: Sequence[Where]) -> bool:
    return all(w.field in fields and _OPERATORS[w.operator](fields[w.field], w.value) for w in where)
