"""The categories' read model, each with the number of its products on sale."""

from dataclasses import replace

from shared.domain import events as e
from shared.domain.category import CATEGORY
from shared.domain.product import PRODUCT
from shared.read_models.documents import CategoryDocument, MembershipDocument, category_index
from shared.read_models.project import Count, Projection
from shared.runtime.push_functions import projection


def membership(document: MembershipDocument | None, event: e.ProductEvent) -> MembershipDocument:
    match event:
        case e.ProductCreated() | e.ProductUpdated():
            return MembershipDocument(event.category_id)
        case e.ProductDeleted():
            return MembershipDocument(None)
        case _:
            assert document is not None
            return document


COUNT = Count[MembershipDocument]("categories", "product_count", lambda member: member.category_id)
MEMBERSHIPS = Projection("category_members", PRODUCT, MembershipDocument, membership, COUNT)


@projection("categories", CATEGORY, category_index, COUNT.field, also=[MEMBERSHIPS])
def project_categories(document: CategoryDocument | None, event: e.CategoryEvent) -> CategoryDocument:
    match event:
        case e.CategoryCreated() | e.CategoryUpdated():
            return CategoryDocument(event.category_id, event.name, event.description, event.parent_id)
        case e.CategoryDeleted():
            assert document is not None
            return replace(document, active=False)
