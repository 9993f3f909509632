"""A new step at the end of a new version of the order's saga, of best effort: the order stays
confirmed when it fails, so it needs no compensation."""

import re

from scripts.local.edits import CannotEdit, Edits
from scripts.local.names import Names
from scripts.local.new_parts import new_event, new_state_field

PAGE = "functions/sagas/add-a-step.md"
_SAGA = "shared/sagas/order_fulfilment.py"
_RELEASES = "tests/sagas/test_releases.py"
_EVERY_ORDER = "tests/sagas/test_every_order.py"
_PRICES = "scripts/local/prices.yaml"


def add_saga_step(edits: Edits, names: Names) -> list[str]:
    """Make the changes; return what is left to decide."""
    new_event(edits, names, "order", "OrderCancelled", r"^(NotificationEvent = .*)$")
    new_state_field(edits, "order", f"{names.flag}: Outcome = Outcome.OPEN", "the saga's step shows it")
    _domain(edits, names)
    _new_version(edits, names)
    _function(edits, names)
    _tests(edits, names)
    _costs(edits, names)
    return [
        f"what the step does: a call to another system goes into functions/sagas/{names.name}/main.py between loading"
        " and recording, under a key, as in process_payment",
        f"what {names.event} keeps of it, and whether it can be refused (`unless`, with an event of its own)",
        f"its place among the steps of its version ({_SAGA}, shared/sagas/change-the-saga.md)",
        f"its deadline and retries, and whether its failure fails the order (`best_effort`); then it needs a"
        f" compensation ({PAGE})",
    ]


def _new_version(edits: Edits, names: Names) -> None:
    """Add the step in a new version of the saga; sagas under way keep theirs."""
    version = len(re.findall(r"^_VERSION_\d+ = ", edits.text(_SAGA), re.MULTILINE)) + 1
    edits.sub(_SAGA, r"^ORDER_FULFILMENT = ", f"_VERSION_{version} = ")
    edits.append(
        _SAGA,
        f"""
ORDER_FULFILMENT = replace(
    _VERSION_{version},
    steps=(
        *_VERSION_{version}.steps,
        Step(
            send=commands.{names.kind},
            until=events.{names.event},
            within=timedelta(seconds=30),
            retries=Retries(3),
            best_effort=True,
        ),
    ),
    version={version + 1},
    former=(_VERSION_{version}, *_VERSION_{version}.former),
)
""",
    )
    if "from dataclasses import replace" not in edits.text(_SAGA):
        edits.sub(_SAGA, r"^from datetime import timedelta$", r"from dataclasses import replace\n\g<0>")
    steps = re.search(rf"^    {version}: \(\n((?:        .*\n)+)    \),\n", edits.text(_RELEASES), re.MULTILINE)
    if steps is None:
        raise CannotEdit(f"{_RELEASES}: VERSIONS has no version {version}")
    row = f'        ("{names.kind}", "{names.event}", None, None, None),\n'
    edits.after(_RELEASES, steps[0], f"    {version + 1}: (\n{steps[1]}{row}    ),\n")


def _domain(edits: Edits, names: Names) -> None:
    edits.before(
        "shared/domain/commands.py",
        "@wire_command\nclass ReleaseInventory:",
        f"@wire_command\nclass {names.kind}:\n    order_id: UUID\n\n\n",
    )
    edits.before(
        "shared/domain/order.py",
        "        case events.InventoryReservationFailed(_, reason):\n",
        f"        case events.{names.event}():\n            return replace(order, {names.flag}=Outcome.DONE)\n",
    )
    edits.before(
        "shared/domain/fulfilment.py",
        "def fail(command: commands.FailOrder",
        f'''def {names.name}(command: commands.{names.kind}, order: Order) -> list[OrderEvent]:
    """Record it once, and only for an order that is confirmed."""
    wanted = order.status is OrderStatus.CONFIRMED and order.{names.flag} is Outcome.OPEN
    return [events.{names.event}(command.order_id)] if wanted else []


''',
    )
    for projection, result in (
        ("project_orders", "            return order"),
        ("project_sales", "            return sale"),
    ):
        edits.add_to_case(f"functions/projections/{projection}/main.py", result, f"e.{names.event}()")
    edits.before(
        "scripts/local/diagrams.py",
        "    lambda order: fulfilment.fail(commands.FailOrder",
        f"    lambda order: fulfilment.{names.name}(commands.{names.kind}(_ID), order),\n",
    )


def _function(edits: Edits, names: Names) -> None:
    topic = names.name.replace("_", "-")
    edits.create(
        f"functions/sagas/{names.name}/main.py",
        f'''"""{names.sentence}, after the order is confirmed."""

from shared.domain import fulfilment
from shared.domain.commands import {names.kind}
from shared.domain.order import ORDER
from shared.runtime.engines import Engines
from shared.runtime.execute import execute_step
from shared.runtime.push_functions import saga_step


@saga_step({names.kind})
def {names.name}(command: {names.kind}, engines: Engines) -> None:
    execute_step(engines.event_store, fulfilment.{names.name}, command, ORDER.ref(command.order_id))
''',
    )
    edits.sub(
        "functions/manifest.yaml",
        r"^  fail_order: +(\{.*)topics: \[fail-order\](.*\})$",
        rf"\g<0>\n  {names.name + ':':<18} \1topics: [{topic}]\2",
    )


def _tests(edits: Edits, names: Names) -> None:
    edits.create(
        f"tests/domain/test_{names.name}.py",
        f'''"""{names.sentence}: the saga's step records its event once, for confirmed orders only."""

import pytest

from shared.domain.commands import {names.kind}
from shared.domain.events import {names.event}
from shared.domain.fulfilment import {names.name}
from shared.domain.order import ORDER, OrderStatus
from tests.specification import ORDER_ID, ORDER_THAT_IS, given, given_no

COMMAND, RECORDED = {names.kind}(ORDER_ID), {names.event}(ORDER_ID)
CONFIRMED = ORDER_THAT_IS[OrderStatus.CONFIRMED]


def test_it_is_recorded_once_for_a_confirmed_order() -> None:
    given(*CONFIRMED).when({names.name}, COMMAND).then(RECORDED)
    given(*CONFIRMED, RECORDED).when({names.name}, COMMAND).then_nothing()


OTHERS = [one for one in ORDER_THAT_IS if one not in (OrderStatus.ABSENT, OrderStatus.CONFIRMED)]


@pytest.mark.parametrize("status", OTHERS)
def test_it_is_not_recorded_for_another_order(status: OrderStatus) -> None:
    given(*ORDER_THAT_IS[status]).when({names.name}, COMMAND).then_nothing()


def test_it_is_not_recorded_for_an_order_that_was_never_placed() -> None:
    given_no(ORDER).when({names.name}, COMMAND).then_nothing()
''',
    )
    edits.sub(_EVERY_ORDER, r"^(OwnCommand = .*)$", rf"\1 | {names.kind}")
    edits.before(
        _EVERY_ORDER,
        "        case FailOrder():\n            return world.recording(fail(",
        f"        case {names.kind}():\n"
        f"            return world.recording({names.name}(command, world.order)).acknowledging(command)\n",
    )
    edits.sub(_EVERY_ORDER, r"^from shared\.domain\.fulfilment import \(\n", rf"\g<0>    {names.name},\n")
    edits.sub(_EVERY_ORDER, r"^from shared\.domain\.commands import \(\n", rf"\g<0>    {names.kind},\n")


def _costs(edits: Edits, names: Names) -> None:
    """Add what one order costs now: the command's and the event's messages and their readers."""
    text = edits.text(_PRICES)
    readers = ("project_orders", "project_sales", "order_saga")
    for name, more in [(one, 1) for one in readers] + [("events", 1), ("messages", 2), ("spans", 6)]:
        found = re.search(rf"\b{name}: (\d+)", text)
        edits.sub(_PRICES, rf"(\b{name}: )\d+", rf"\g<1>{int(found[1]) + more if found else 0}")
    for name in ("firestore_reads", "firestore_writes"):
        found = re.search(rf"^  {name}: (\d+)", text, re.MULTILINE)
        edits.sub(_PRICES, rf"(^  {name}: )\d+", rf"\g<1>{int(found[1]) + 2 if found else 0}")
    edits.sub(_PRICES, r"notify_customer: 1\b", rf"\g<0>, {names.name}: 1")
