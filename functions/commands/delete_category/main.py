"""Delete a category that has neither products nor subcategories."""

from shared.auth.permissions import Permission
from shared.domain.category import CATEGORY, delete
from shared.domain.commands import DeleteCategory
from shared.event_store.protocol import EventStore
from shared.runtime.command import command
from shared.runtime.execute import Answer, Call, execute


@command(DeleteCategory, permission=Permission.ADMIN)
def delete_category(command: DeleteCategory, store: EventStore, call: Call) -> Answer:
    return execute(store, delete, command, CATEGORY.ref(command.category_id), call=call)
