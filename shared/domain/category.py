"""Categories: a tree whose siblings have different names."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from shared.domain.aggregate import Aggregate, Lifecycle, Place, Placement, Remove
from shared.domain.commands import CreateCategory, DeleteCategory, UpdateCategory
from shared.domain.errors import Invalid, NotFound, Path, Rejected
from shared.domain.events import CategoryCreated, CategoryDeleted, CategoryEvent, CategoryUpdated
from shared.domain.values import NIL, comparable


@dataclass(frozen=True)
class Category:
    category_id: UUID = NIL
    name: str = ""
    description: str | None = None
    parent_id: UUID | None = None
    lifecycle: Lifecycle = Lifecycle.ABSENT


def evolve(category: Category, event: CategoryEvent) -> Category:
    match event:
        case CategoryCreated(category_id, name, description, parent_id):
            return Category(category_id, name, description, parent_id, Lifecycle.ACTIVE)
        case CategoryUpdated(_, name, description, parent_id):
            return replace(category, name=name, description=description, parent_id=parent_id)
        case CategoryDeleted():
            return replace(category, lifecycle=Lifecycle.DELETED)


def placement(event: CategoryEvent) -> Placement:
    match event:
        case CategoryCreated() | CategoryUpdated():
            parent = CATEGORY.stream(event.parent_id) if event.parent_id else None
            return Place(CATEGORY.stream_of(event), parent, comparable(event.name))
        case CategoryDeleted():
            return Remove(CATEGORY.stream_of(event))


CATEGORY = Aggregate("category", Category(), evolve, CategoryEvent, placement)


def require_active(category_id: UUID, category: Category, field: Path) -> None:
    """Raise NotFound or Rejected at `field` of the command unless the category is there."""
    match category.lifecycle:
        case Lifecycle.ABSENT:
            raise NotFound(f"category {category_id} does not exist", field)
        case Lifecycle.DELETED:
            raise Rejected(f"category {category_id} has been deleted", field)
        case Lifecycle.ACTIVE:
            return


def create(command: CreateCategory, category: Category, parents: Sequence[Category]) -> list[CategoryEvent]:
    """`parents`: the state of the named parent; empty for a top-level category."""
    if category.lifecycle is not Lifecycle.ABSENT:
        raise Rejected(f"category {command.category_id} exists already", ("category_id",))
    if command.parent_id:
        require_active(command.parent_id, parents[0], ("parent_id",))
    return [CategoryCreated(command.category_id, command.name, command.description, command.parent_id)]


def update(command: UpdateCategory, category: Category, parents: Sequence[Category]) -> list[CategoryEvent]:
    """Record nothing when nothing changes. The event store refuses longer circles."""
    require_active(command.category_id, category, ("id",))
    parent_id = command.parent_id.value if command.parent_id else category.parent_id
    if parent_id == command.category_id:
        raise Invalid("a category cannot be its own parent", ("parent_id",))
    if command.parent_id and parent_id and parent_id != category.parent_id:
        require_active(parent_id, parents[0], ("parent_id",))
    updated = CategoryUpdated(
        command.category_id,
        command.name.value if command.name else category.name,
        command.description.value if command.description else category.description,
        parent_id,
    )
    return [updated] if evolve(category, updated) != category else []


def delete(command: DeleteCategory, category: Category) -> list[CategoryEvent]:
    """Record nothing the second time. The append checks that the category is empty."""
    match category.lifecycle:
        case Lifecycle.ABSENT:
            raise NotFound(f"category {command.category_id} does not exist", ("id",))
        case Lifecycle.DELETED:
            return []
        case Lifecycle.ACTIVE:
            return [CategoryDeleted(command.category_id)]
