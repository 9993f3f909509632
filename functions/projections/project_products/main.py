"""The products' read model: price, stock, and what a search finds them by."""

from dataclasses import replace

from shared.domain import events as e
from shared.domain.product import PRODUCT
from shared.read_models.documents import ProductDocument, product_index
from shared.runtime.push_functions import projection


@projection("products", PRODUCT, product_index)
def project_products(document: ProductDocument | None, event: e.ProductEvent) -> ProductDocument:
    if isinstance(event, e.ProductCreated):
        return created(event)
    assert document is not None
    stock, reserved = document.stock_quantity, document.reserved_quantity
    match event:
        case e.ProductUpdated(_, name, description, category_id):
            return replace(document, name=name, description=description, category_id=category_id)
        case e.ProductPriceChanged(_, price):
            return replace(document, price=price.amount)
        case e.StockAdjusted(_, delta):
            return replace(document, stock_quantity=stock + delta)
        case e.StockReserved(_, _, quantity):
            return replace(document, reserved_quantity=reserved + quantity)
        case e.StockReleased(_, _, quantity):
            return replace(document, reserved_quantity=reserved - quantity)
        case e.StockShipped(_, _, quantity):
            return replace(document, stock_quantity=stock - quantity, reserved_quantity=reserved - quantity)
        case e.ProductDeleted():
            return replace(document, active=False)


def created(event: e.ProductCreated) -> ProductDocument:
    return ProductDocument(
        event.product_id,
        event.name,
        event.description,
        event.price.amount,
        event.price.currency,
        event.category_id,
        event.on_hand,
    )
