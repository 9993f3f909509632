"""The categories' read model, each with the number of its products on sale."""

from dataclasses import replace

from shared.domain.category import CATEGORY
from shared.domain.events import (
    CategoryCreated,
    CategoryDeleted,
    CategoryEvent,
    CategoryUpdated,
    ProductCreated,
    ProductDeleted,
    ProductEvent,
    ProductUpdated,
)
from shared.domain.product import PRODUCT
from shared.read_models.documents import CategoryDocument, MembershipDocument, grams
from shared.read_models.project import Count, Projection
from shared.runtime.push_functions import projection


def membership(document: MembershipDocument | None, event: ProductEvent) -> MembershipDocument:
    match event:
        case ProductCreated() | ProductUpdated():
            return MembershipDocument(event.category_id)
        case ProductDeleted():
            return MembershipDocument(None)
        case _:
            assert document is not None
            return document


PRODUCTS_PER_CATEGORY = Count[MembershipDocument]("categories", "product_count", lambda member: member.category_id)
MEMBERSHIPS = Projection("category_members", PRODUCT, MembershipDocument, membership, PRODUCTS_PER_CATEGORY)


@projection("categories", CATEGORY, also=[MEMBERSHIPS])
def project_categories(document: CategoryDocument | None, event: CategoryEvent) -> CategoryDocument:
    match event:
        case CategoryCreated(category_id, name, description, parent_id) | CategoryUpdated(
            category_id, name, description, parent_id
        ):
            return CategoryDocument(category_id, name, description, parent_id, grams=grams(name, description))
        case CategoryDeleted():
            assert document is not None
            return replace(document, active=False)
