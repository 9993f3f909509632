"""Keep the products' read model: price, stock, and the fields that searches use."""

from dataclasses import replace

from shared.domain import events as e
from shared.read_models.documents import PRODUCTS, ProductDocument
from shared.runtime.projection import projection


def created(event: e.ProductCreated) -> ProductDocument:
    price = event.price
    return ProductDocument(
        event.product_id,
        event.name,
        event.description,
        price.amount,
        price.currency,
        event.category_id,
        event.on_hand,
    )


@projection(PRODUCTS, created)
def project_products(product: ProductDocument, event: e.ProductChange) -> ProductDocument:
    stock, reserved = product.stock_quantity, product.reserved_quantity
    match event:
        case e.ProductUpdated(_, name, description, category_id):
            return replace(product, name=name, description=description, category_id=category_id)
        case e.ProductPriceChanged(_, price):
            return replace(product, price=price.amount)
        case e.StockAdjusted(_, delta):
            return replace(product, stock_quantity=stock + delta)
        case e.StockReserved(_, _, quantity):
            return replace(product, reserved_quantity=reserved + quantity)
        case e.StockReleased(_, _, quantity):
            return replace(product, reserved_quantity=reserved - quantity)
        case e.StockShipped(_, _, quantity):
            return replace(product, stock_quantity=stock - quantity, reserved_quantity=reserved - quantity)
        case e.ProductDeleted():
            return replace(product, active=False)
