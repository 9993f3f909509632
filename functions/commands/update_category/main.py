"""Rename a category, change its description or move it below another category."""

from shared.auth.permissions import Permission
from shared.domain.category import CATEGORY, update
from shared.domain.commands import UpdateCategory
from shared.event_store.protocol import EventStore
from shared.runtime.command import command
from shared.runtime.execute import Answer, Call, execute


@command(UpdateCategory, permission=Permission.ADMIN)
def update_category(command: UpdateCategory, store: EventStore, call: Call) -> Answer:
    parents = [CATEGORY.ref(parent.value)] if (parent := command.parent_id) and parent.value else []
    return execute(store, update, command, CATEGORY.ref(command.category_id), parents, call=call)
