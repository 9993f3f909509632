"""Create a category, at the top or below another one."""

from shared.auth.permissions import Permission
from shared.domain.category import CATEGORY, Category, create
from shared.domain.commands import CreateCategory
from shared.event_store.aggregates import Loaded
from shared.event_store.protocol import EventStore
from shared.runtime.command import command
from shared.runtime.execute import execute


@command(CreateCategory, permission=Permission.ADMIN, new="categoryId")
def create_category(request: CreateCategory, store: EventStore) -> Loaded[Category]:
    parents = [CATEGORY.ref(request.parent_id)] if request.parent_id else []
    return execute(store, create, request, CATEGORY.ref(request.category_id), parents)
