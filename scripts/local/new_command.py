"""A new command about a product, which records one event the first time and nothing after that."""

from scripts.local.edits import Edits
from scripts.local.names import Names
from scripts.local.new_parts import new_event, new_state_field, product_case

PAGE = "functions/commands/add-a-command.md"
_DOMAIN = "shared/domain/product.py"


def add_command(edits: Edits, names: Names) -> list[str]:
    """Make the changes; return what is left to decide."""
    new_event(edits, names, "product", "ProductDeleted", r"^(ProductChange = .*)$")
    new_state_field(edits, "product", f"{names.flag}: bool = False", "no read model shows it yet")
    product_case(edits, names)
    _domain(edits, names)
    _function(edits, names)
    _api(edits, names)
    _tests(edits, names)
    return [
        f"which fields {names.kind} has beside the product (shared/domain/commands.py, and the arguments of"
        f" {names.camel} in schema.graphql), and which of them {names.event} keeps",
        f"when it is refused, and what the state becomes ({names.name} and evolve in {_DOMAIN})",
        "whether a read model shows it (shared/read_models/documents.py)",
        "the descriptions: of the function, in schema.graphql, and of the test",
    ]


def _domain(edits: Edits, names: Names) -> None:
    edits.before(
        "shared/domain/commands.py",
        "@wire_command\nclass DeleteProduct:",
        f"@wire_command\nclass {names.kind}:\n    product_id: UUID\n\n\n",
    )
    edits.sub(_DOMAIN, r"^from shared\.domain\.commands import (?:\(\n)?", rf"\g<0>{names.kind}, ")
    edits.before(
        _DOMAIN,
        "        case events.ProductDeleted():\n            return replace(product, lifecycle",
        f"        case events.{names.event}():\n            return replace(product, {names.flag}=True)\n",
    )
    edits.before(
        _DOMAIN,
        "def delete(command: DeleteProduct",
        f'''def {names.name}(command: {names.kind}, product: Product) -> list[ProductEvent]:
    """Record it once; a second time records nothing."""
    require_on_sale(command.product_id, product, ("id",))
    return [] if product.{names.flag} else [events.{names.event}(command.product_id)]


''',
    )


def _function(edits: Edits, names: Names) -> None:
    edits.create(
        f"functions/commands/{names.name}/main.py",
        f'''"""{names.sentence}: a command about one product."""

from shared.auth.permissions import Permission
from shared.domain import product
from shared.domain.commands import {names.kind}
from shared.event_store.protocol import EventStore
from shared.runtime.command import command
from shared.runtime.execute import Answer, Call, execute


@command({names.kind}, permission=Permission.ADMIN)
def {names.name}(command: {names.kind}, store: EventStore, call: Call) -> Answer:
    return execute(store, product.{names.name}, command, product.PRODUCT.ref(command.product_id), call=call)
''',
    )
    edits.sub("functions/manifest.yaml", r"^  adjust_stock: +(\{.*\})$", rf"\g<0>\n  {names.name + ':':<21} \1")


def _api(edits: Edits, names: Names) -> None:
    edits.before(
        "schema.graphql",
        '  "Ends the sale of a product; its orders stay.',
        f'''  "{names.sentence}, once: repeating it records nothing. For admins."
  {names.camel}(
    "The id of the product: a UUID. Unknown ids are NOT_FOUND."
    id: ID!
  ): Product
''',
    )
    edits.before(
        "shared/api/resolvers/products.py",
        '        "deleteProduct": CommandMutation(',
        f'        "{names.camel}": CommandMutation("{names.name}", Permission.ADMIN, "productId"),\n',
    )


def _tests(edits: Edits, names: Names) -> None:
    edits.create(
        f"tests/domain/test_{names.name}.py",
        f'''"""{names.sentence}: what is recorded, and what is refused."""

from shared.domain.commands import {names.kind}
from shared.domain.errors import NotFound, Rejected
from shared.domain.events import {names.event}, ProductDeleted
from shared.domain.product import PRODUCT, {names.name}
from tests.specification import CUP_ID, cup_created, given, given_no

COMMAND, RECORDED = {names.kind}(CUP_ID), {names.event}(CUP_ID)


def test_it_is_recorded_once() -> None:
    given(cup_created()).when({names.name}, COMMAND).then(RECORDED)
    given(cup_created(), RECORDED).when({names.name}, COMMAND).then_nothing()


def test_it_needs_a_product_on_sale() -> None:
    given_no(PRODUCT).when({names.name}, COMMAND).then_rejected(NotFound)
    given(cup_created(), ProductDeleted(CUP_ID)).when({names.name}, COMMAND).then_rejected(Rejected)
''',
    )
    permissions = "tests/api/test_permissions.py"
    edits.after(permissions, '    "adjustStock": ADMINS_ONLY,\n', f'    "{names.camel}": ADMINS_ONLY,\n')
    row = f"""        "{names.camel}": f'(id: "{{product_id}}") {{{{ id }}}}',\n"""
    edits.sub(permissions, r'^        "adjustStock": f.*\n', rf"\g<0>{row}")
    edits.sub(
        "tests/functions/test_commands.py",
        r'^    "adjust_stock": lambda shop: .*\n',
        rf'\g<0>    "{names.name}": lambda shop: {{"productId": shop.new_product()}},\n',
    )
