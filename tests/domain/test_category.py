"""The rules of one category. The rules of the tree are in test_placement.py."""

from shared.domain.category import CATEGORY, create, delete, update
from shared.domain.commands import CreateCategory, DeleteCategory, UpdateCategory
from shared.domain.errors import Invalid, NotFound, Rejected
from shared.domain.events import CategoryCreated, CategoryDeleted, CategoryUpdated
from shared.domain.values import To
from tests.specification import DRINKS_ID, KITCHEN_ID, category_created, given, given_no

ABSENT = CATEGORY.initial
KITCHEN = given(category_created(KITCHEN_ID)).state
DELETED_KITCHEN = given(category_created(KITCHEN_ID), CategoryDeleted(KITCHEN_ID)).state


def test_a_category_is_created_with_the_fields_of_the_command() -> None:
    command = CreateCategory(DRINKS_ID, "飲み物", "お茶とコーヒー")
    given_no(CATEGORY).when(create, command, []).then(CategoryCreated(DRINKS_ID, "飲み物", "お茶とコーヒー", None))


def test_a_category_is_created_below_another() -> None:
    command = CreateCategory(DRINKS_ID, "飲み物", parent_id=KITCHEN_ID)
    given_no(CATEGORY).when(create, command, [KITCHEN]).then(CategoryCreated(DRINKS_ID, "飲み物", None, KITCHEN_ID))


def test_a_category_is_not_created_under_an_id_that_is_taken() -> None:
    command = CreateCategory(DRINKS_ID, "酒")
    given(category_created()).when(create, command, []).then_rejected(Rejected, field=["category_id"])


def test_the_id_of_a_deleted_category_is_not_used_again() -> None:
    history = given(category_created(), CategoryDeleted(DRINKS_ID))
    history.when(create, CreateCategory(DRINKS_ID, "酒"), []).then_rejected(Rejected, field=["category_id"])


def test_a_category_is_not_created_below_one_that_does_not_exist() -> None:
    command = CreateCategory(DRINKS_ID, "酒", parent_id=KITCHEN_ID)
    given_no(CATEGORY).when(create, command, [ABSENT]).then_rejected(NotFound, field=["parent_id"])


def test_a_category_is_not_created_below_itself() -> None:
    command = CreateCategory(DRINKS_ID, "酒", parent_id=DRINKS_ID)
    given_no(CATEGORY).when(create, command, [ABSENT]).then_rejected(NotFound, field=["parent_id"])


def test_a_category_is_not_created_below_a_deleted_one() -> None:
    command = CreateCategory(DRINKS_ID, "酒", parent_id=KITCHEN_ID)
    given_no(CATEGORY).when(create, command, [DELETED_KITCHEN]).then_rejected(
        Rejected, match="deleted", field=["parent_id"]
    )


def test_a_new_name_leaves_the_rest_as_it_was() -> None:
    command = UpdateCategory(DRINKS_ID, name=To("酒"))
    updated = CategoryUpdated(DRINKS_ID, "酒", "お茶とコーヒー", KITCHEN_ID)
    given(category_created(parent_id=KITCHEN_ID)).when(update, command, []).then(updated)


def test_a_description_can_be_cleared() -> None:
    command = UpdateCategory(DRINKS_ID, description=To(None))
    given(category_created()).when(update, command, []).then(CategoryUpdated(DRINKS_ID, "飲み物", None, None))


def test_an_empty_description_differs_from_none() -> None:
    command = UpdateCategory(DRINKS_ID, description=To(""))
    given(category_created()).when(update, command, []).then(CategoryUpdated(DRINKS_ID, "飲み物", "", None))


def test_a_category_moves_below_another() -> None:
    command = UpdateCategory(DRINKS_ID, parent_id=To(KITCHEN_ID))
    moved = CategoryUpdated(DRINKS_ID, "飲み物", "お茶とコーヒー", KITCHEN_ID)
    given(category_created()).when(update, command, [KITCHEN]).then(moved)


def test_a_category_moves_to_the_top() -> None:
    command = UpdateCategory(DRINKS_ID, parent_id=To(None))
    moved = CategoryUpdated(DRINKS_ID, "飲み物", "お茶とコーヒー", None)
    given(category_created(parent_id=KITCHEN_ID)).when(update, command, []).then(moved)


def test_a_category_cannot_be_its_own_parent() -> None:
    command = UpdateCategory(DRINKS_ID, parent_id=To(DRINKS_ID))
    drinks = given(category_created())
    drinks.when(update, command, [drinks.state]).then_rejected(Invalid, field=["parent_id"])


def test_a_category_does_not_move_below_one_that_does_not_exist() -> None:
    command = UpdateCategory(DRINKS_ID, parent_id=To(KITCHEN_ID))
    given(category_created()).when(update, command, [ABSENT]).then_rejected(NotFound, field=["parent_id"])


def test_a_category_does_not_move_below_a_deleted_one() -> None:
    command = UpdateCategory(DRINKS_ID, parent_id=To(KITCHEN_ID))
    given(category_created()).when(update, command, [DELETED_KITCHEN]).then_rejected(Rejected, field=["parent_id"])


def test_an_update_without_fields_records_nothing() -> None:
    given(category_created()).when(update, UpdateCategory(DRINKS_ID), []).then_nothing()


def test_an_update_to_the_present_values_records_nothing() -> None:
    command = UpdateCategory(DRINKS_ID, To("飲み物"), To("お茶とコーヒー"), To(KITCHEN_ID))
    given(category_created(parent_id=KITCHEN_ID)).when(update, command, [KITCHEN]).then_nothing()


def test_a_repeated_update_records_nothing() -> None:
    command = UpdateCategory(DRINKS_ID, To("酒"), To(None), To(KITCHEN_ID))
    updated = CategoryUpdated(DRINKS_ID, "酒", None, KITCHEN_ID)
    given(category_created()).when(update, command, [KITCHEN]).then(updated)
    given(category_created(), updated).when(update, command, [KITCHEN]).then_nothing()


def test_a_category_that_does_not_exist_is_not_updated() -> None:
    given_no(CATEGORY).when(update, UpdateCategory(DRINKS_ID), []).then_rejected(NotFound, field=["id"])


def test_a_deleted_category_is_not_updated() -> None:
    history = given(category_created(), CategoryDeleted(DRINKS_ID))
    history.when(update, UpdateCategory(DRINKS_ID, name=To("酒")), []).then_rejected(Rejected, field=["id"])


def test_a_category_is_deleted() -> None:
    given(category_created()).when(delete, DeleteCategory(DRINKS_ID)).then(CategoryDeleted(DRINKS_ID))


def test_deleting_a_category_twice_records_nothing() -> None:
    given(category_created(), CategoryDeleted(DRINKS_ID)).when(delete, DeleteCategory(DRINKS_ID)).then_nothing()


def test_a_category_that_does_not_exist_is_not_deleted() -> None:
    given_no(CATEGORY).when(delete, DeleteCategory(DRINKS_ID)).then_rejected(NotFound, field=["id"])


def test_a_deleted_category_keeps_its_fields() -> None:
    deleted = given(category_created(), CategoryDeleted(DRINKS_ID)).state
    assert (deleted.category_id, deleted.name, deleted.description) == (DRINKS_ID, "飲み物", "お茶とコーヒー")
