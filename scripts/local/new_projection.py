"""A new read model about products: how often each has changed, shown as a field of the product."""

import re

from scripts.local.edits import Edits
from scripts.local.names import Names

PAGE = "functions/projections/add-a-projection.md"
_DOCUMENTS = "shared/read_models/documents.py"
_PRICES = "scripts/local/prices.yaml"
_EVENTS_PER_ORDER = 2
"""Events of products in the course of one order: reserved and shipped."""


def add_projection(edits: Edits, names: Names) -> list[str]:
    """Make the changes; return what is left to decide."""
    function = f"project_{names.name}"
    _document(edits, names)
    edits.create(
        f"functions/projections/{function}/main.py",
        f'''"""Keep the read model "{names.words}": how often each product has changed."""

from dataclasses import replace

from shared.domain import events as e
from shared.read_models.documents import {names.name.upper()}, {names.kind}Document
from shared.runtime.projection import projection


def created(event: e.ProductCreated) -> {names.kind}Document:
    return {names.kind}Document(event.product_id, 0)


@projection({names.name.upper()}, created)
def {function}(document: {names.kind}Document, event: e.ProductChange) -> {names.kind}Document:
    return replace(document, changes=document.changes + 1)
''',
    )
    manifest = "functions/manifest.yaml"
    edits.sub(manifest, r"^  project_products: +(\{.*\})(?:\n  project_.*)*$", rf"\g<0>\n  {function + ':':<19} \1")
    _query(edits, names)
    _costs(edits, function)
    _test(edits, names)
    return [
        f"what {names.kind}Document keeps beside the product's id (its field `changes` in {_DOCUMENTS})",
        f"what each event changes (functions/projections/{function}/main.py); match the events without a wildcard when"
        " they differ",
        f"the type and the description of {names.camel} in schema.graphql",
        "what is looked up by (`index`) or added up over many documents (`Totals`, as in project_sales)",
        f'after deploying: rebuildProjection(name: "{function}"), which reads the events of the past',
    ]


def _document(edits: Edits, names: Names) -> None:
    edits.before(
        _DOCUMENTS,
        "@dataclass(frozen=True)\nclass ItemDocument:",
        f"@dataclass(frozen=True)\nclass {names.kind}Document:\n    id: UUID\n    changes: int\n\n\n",
    )
    constant = names.name.upper()
    edits.before(
        _DOCUMENTS,
        "COLLECTIONS: Sequence[Collection[Any]] = (",
        f'{constant} = Collection("{names.name}", PRODUCT, {names.kind}Document)\n\n',
    )
    edits.add_argument(_DOCUMENTS, "COLLECTIONS: Sequence[Collection[Any]] = (", constant)


def _query(edits: Edits, names: Names) -> None:
    edits.sub(
        "shared/api/loaders.py",
        r'^    products = cached_property(\[.*\])\(lambda self: self\._by_id\("products"\)\)\n',
        rf'\g<0>    {names.name} = cached_property\1(lambda self: self._by_id("{names.name}"))\n',
    )
    edits.sub(
        "schema.graphql",
        r"(^type Product implements Node \{\n(?:  .*\n)*?)(  \"When its first event was recorded)",
        rf'\1  "How often it has changed ({names.words}); null until the read model has it."\n  {names.camel}: Int\n\2',
    )
    resolvers = "shared/api/resolvers/products.py"
    edits.before(
        resolvers,
        "async def stock_updates(",
        f"""async def {names.name}(product: Fields, info: Info) -> int | None:
    found = await info.context.loaders.{names.name}.load(product["id"])
    return found["changes"] if found else None


""",
    )
    edits.before(resolvers, '        "category": category,\n', f'        "{names.camel}": {names.name},\n')


def _costs(edits: Edits, function: str) -> None:
    """Add what one order costs now."""
    edits.sub(_PRICES, r"project_products: 2,", rf"\g<0> {function}: {_EVENTS_PER_ORDER},")
    for name in ("firestore_reads", "firestore_writes", "spans"):
        found = re.search(rf"^  {name}: (\d+)", edits.text(_PRICES), re.MULTILINE)
        now = int(found[1]) + _EVENTS_PER_ORDER if found else 0
        edits.sub(_PRICES, rf"^  {name}: \d+", f"  {name}: {now}")


def _test(edits: Edits, names: Names) -> None:
    edits.create(
        f"tests/functions/test_project_{names.name}.py",
        f'''"""The read model "{names.words}" follows the events of its product, and clients read it."""

from decimal import Decimal

from functions.projections.project_{names.name}.main import created
from shared.domain.events import ProductCreated
from shared.domain.values import Money
from shared.read_models.documents import {names.kind}Document
from tests.shop_in_memory import ShopInMemory
from tests.specification import CUP_ID, KITCHEN_ID


def test_it_begins_with_the_product() -> None:
    given = ProductCreated(CUP_ID, "湯呑み", None, KITCHEN_ID, Money(Decimal(800)), 10)
    assert created(given) == {names.kind}Document(CUP_ID, 0)


def test_a_client_sees_it_follow_the_events(shop: ShopInMemory) -> None:
    product = shop.new_product()
    shop.command("adjust_stock", {{"productId": product, "delta": 5}})
    shop.settle()
    found = shop.ask("query ($id: ID!) {{ product(id: $id) {{ {names.camel} }} }}", id=product)
    assert found["product"] == {{"{names.camel}": 1}}
''',
    )
