"""Rename a category, describe it anew or move it elsewhere in the tree."""

from shared.auth.permissions import Permission
from shared.domain.category import CATEGORY, Category, update
from shared.domain.commands import UpdateCategory
from shared.event_store.aggregates import Loaded
from shared.event_store.protocol import EventStore
from shared.runtime.command import command
from shared.runtime.execute import execute


@command(UpdateCategory, permission=Permission.ADMIN)
def update_category(request: UpdateCategory, store: EventStore) -> Loaded[Category]:
    parents = [CATEGORY.ref(parent.value)] if (parent := request.parent_id) and parent.value else []
    return execute(store, update, request, CATEGORY.ref(request.category_id), parents)
