"""Delete a category that has neither products nor subcategories."""

from shared.auth.permissions import Permission
from shared.domain.category import CATEGORY, Category, delete
from shared.domain.commands import DeleteCategory
from shared.event_store.aggregates import Loaded
from shared.event_store.protocol import EventStore
from shared.runtime.command import command
from shared.runtime.execute import execute


@command(DeleteCategory, permission=Permission.ADMIN)
def delete_category(request: DeleteCategory, store: EventStore) -> Loaded[Category]:
    return execute(store, delete, request, CATEGORY.ref(request.category_id))
