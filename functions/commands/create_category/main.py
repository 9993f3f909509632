"""Create a category, at the top of the tree or below another category."""

from shared.auth.permissions import Permission
from shared.domain.category import CATEGORY, create
from shared.domain.commands import CreateCategory
from shared.event_store.protocol import EventStore
from shared.runtime.command import command
from shared.runtime.execute import Answer, Call, execute


@command(CreateCategory, permission=Permission.ADMIN, new="categoryId")
def create_category(command: CreateCategory, store: EventStore, call: Call) -> Answer:
    parents = [CATEGORY.ref(command.parent_id)] if command.parent_id else []
    return execute(store, create, command, CATEGORY.ref(command.category_id), parents, call=call)
