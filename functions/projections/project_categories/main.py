"""Keep the categories' read model, with the number of products on sale in each category."""

from dataclasses import replace

from shared.domain import events as e
from shared.read_models.documents import CATEGORIES, CATEGORY_MEMBERS, CategoryDocument, MembershipDocument
from shared.read_models.project import Projection
from shared.runtime.projection import projection


def joined(event: e.ProductCreated | e.ProductUpdated) -> MembershipDocument:
    return MembershipDocument(event.category_id)


def membership(member: MembershipDocument, event: e.ProductChange) -> MembershipDocument:
    match event:
        case e.ProductUpdated():
            return joined(event)
        case e.ProductDeleted():
            return MembershipDocument(None)
        case e.ProductPriceChanged() | e.StockAdjusted() | e.StockReserved() | e.StockReleased() | e.StockShipped():
            return member


def created(event: e.CategoryCreated | e.CategoryUpdated) -> CategoryDocument:
    return CategoryDocument(event.category_id, event.name, event.description, event.parent_id)


@projection(CATEGORIES, created, also=[Projection(CATEGORY_MEMBERS, joined, membership)])
def project_categories(category: CategoryDocument, event: e.CategoryChange) -> CategoryDocument:
    match event:
        case e.CategoryUpdated():
            return created(event)
        case e.CategoryDeleted():
            return replace(category, active=False)
