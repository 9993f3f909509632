"""A new field of a product, from the client through the event to the read model; events of the past
are read with it, too."""

import re

from scripts.local.edits import CannotEdit, Edits
from scripts.local.names import Names
from scripts.local.new_parts import EVENTS, new_field, new_state_field

PAGE = "shared/domain/add-a-field.md"
_PRODUCT = "shared/domain/product.py"
_DOCUMENTS = "shared/read_models/documents.py"
_DEFAULT = "standard"


def add_event_field(edits: Edits, names: Names) -> list[str]:
    """Make the changes; return what is left to decide."""
    name, field = names.name, f'{names.name}: str = "{_DEFAULT}"'
    version = _new_schema_version(edits, field)
    _upcaster(edits, name, version - 1)
    new_state_field(edits, "product", field, None)
    _evolve(edits, name)
    edits.add_argument(_PRODUCT, "return [events.ProductCreated(", f"{name}=command.{name}")
    new_field(edits, "shared/domain/commands.py", "CreateProduct", f'{name}: Token = "{_DEFAULT}"')
    new_field(edits, _DOCUMENTS, "ProductDocument", field)
    edits.add_argument(_DOCUMENTS, "            return ProductDocument(", f"{name}=state.{name}")
    projection = "functions/projections/project_products/main.py"
    edits.add_argument(projection, "    return ProductDocument(", f"{name}=event.{name}")
    _schema(edits, names)
    _test(edits, names, version)
    return [
        f"its type and default ({_DEFAULT!r} now): in {EVENTS}, {_PRODUCT}, shared/domain/commands.py, {_DOCUMENTS}"
        " and schema.graphql",
        "what events of the past mean: the upcaster in shared/event_store/aggregates.py",
        f"its two descriptions in schema.graphql ({names.camel})",
        "whether it can be changed later: then UpdateProduct and ProductUpdated get it, too",
        'after deploying: rebuildProjection(name: "project_products"); until then it is null in older products',
    ]


def _new_schema_version(edits: Edits, field: str) -> int:
    """Add the field to ProductCreated and return the event's new schema version."""
    found = re.search(
        r"^class ProductCreated:\n(    schema_version: ClassVar(?:\[int\])? = (\d+)\n)?\n?", edits.text(EVENTS), re.M
    )
    if found is None:
        raise CannotEdit(f"{EVENTS} has no class ProductCreated")
    version = int(found[2] or 1) + 1
    edits.sub(EVENTS, re.escape(found[0]), f"class ProductCreated:\n    schema_version: ClassVar = {version}\n\n")
    new_field(edits, EVENTS, "ProductCreated", field)
    if "import ClassVar" not in edits.text(EVENTS):
        edits.sub(EVENTS, r"^from uuid import UUID$", r"from typing import ClassVar\n\g<0>")
    return version


def _upcaster(edits: Edits, name: str, version: int) -> None:
    file = "shared/event_store/aggregates.py"
    row = f'    ("ProductCreated", {version}): lambda data: data | {{"{name}": "{_DEFAULT}"}},\n'
    empty = "UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}"
    if empty in edits.text(file):
        edits.sub(file, re.escape(empty), f"{empty[:-1]}\n{row}}}")
    else:
        edits.after(file, f"{empty[:-1]}\n", row)


def _evolve(edits: Edits, name: str) -> None:
    edits.add_argument(_PRODUCT, "        case events.ProductCreated(product_id, name,", name)
    created = re.escape("            return Product(")
    edits.sub(_PRODUCT, rf"^{created}", "            return Product(  # of evolve\n")
    edits.add_argument(_PRODUCT, "            return Product(  # of evolve\n", f"{name}={name}")
    edits.sub(_PRODUCT, r"return Product\(  # of evolve\n", "return Product(")


def _schema(edits: Edits, names: Names) -> None:
    about = f'  "{names.sentence}: up to 128 characters."\n'
    edits.sub(
        "schema.graphql",
        r"(^type Product implements Node \{\n(?:  .*\n)*?)(  \"When its first event was recorded)",
        rf"\1{about}  {names.camel}: String\n\2",
    )
    edits.sub(
        "schema.graphql",
        r"^input CreateProductInput \{\n(?:  .*\n)*",
        rf'\g<0>{about}  {names.camel}: String = "{_DEFAULT}"\n',
    )


def _test(edits: Edits, names: Names, version: int) -> None:
    name = names.name
    edits.create(
        f"tests/domain/test_{name}.py",
        f'''"""A product's {names.words} is kept from its creation on; older products have the default."""

from dataclasses import replace
from decimal import Decimal

from shared.domain.category import CATEGORY
from shared.domain.commands import CreateProduct
from shared.domain.product import PRODUCT, create
from shared.event_store.aggregates import UPCASTERS
from tests.specification import CUP_ID, KITCHEN_ID, category_created, cup_created, given, given_no

KITCHEN = CATEGORY.fold([category_created(KITCHEN_ID)])
COMMAND = CreateProduct(CUP_ID, "湯呑み", Decimal(800), KITCHEN_ID, "手作り", "JPY", 10, {name}="special")


def test_it_is_recorded_when_the_product_is_created() -> None:
    given_no(PRODUCT).when(create, COMMAND, [KITCHEN]).then(replace(cup_created(), {name}="special"))
    assert given(replace(cup_created(), {name}="special")).state.{name} == "special"


def test_a_product_of_the_past_has_the_default() -> None:
    assert UPCASTERS["ProductCreated", {version - 1}]({{}}) == {{"{name}": "{_DEFAULT}"}}
''',
    )
