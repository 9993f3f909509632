"""Planted faults: small changes of the shop's source, each of which the simulation must find.

A mutant runs in a process of its own, whose imports see the changed text. Files stay as they are.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType
from typing import Any

from shared.config.manifest import ROOT


@dataclass(frozen=True)
class Mutant:
    """`old` stands once in the file. `within`: the histories in which it must be found."""

    name: str
    file: str
    old: str
    new: str
    within: int = 300


MUTANTS: Sequence[Mutant] = (
    Mutant(
        "no relay",
        "functions/operations/relay_outbox/main.py",
        "    outboxes = zip",
        "    return 0\n    outboxes = zip",
    ),
    Mutant("version rule off by one", "shared/read_models/project.py", "if at >= version:", "if at >= version - 1:"),
    Mutant("version rule missing", "shared/read_models/project.py", "if at >= version:", "if False:"),
    Mutant(
        "a gap is not filled",
        "shared/read_models/project.py",
        "[event] if at == version - 1 else [one.event for one in store.read_stream(stream, at, _PAGE)]",
        "[event]",
    ),
    Mutant(
        "the mark of a release is missing",
        "shared/domain/fulfilment.py",
        "    return [events.InventoryReleased(command.order_id), *released]",
        "    return [events.InventoryReleased(command.order_id), *released] if released else []",
    ),
    Mutant(
        "a late reservation is allowed",
        "shared/domain/order.py",
        "return replace(order, inventory=Outcome.UNDONE, closing=True)",
        "return replace(order, inventory=Outcome.OPEN)",
    ),
    Mutant(
        "a late payment is allowed",
        "shared/domain/order.py",
        "return replace(order, payment=Outcome.UNDONE, closing=True)",
        "return replace(order, payment=Outcome.OPEN)",
    ),
    Mutant(
        "the idempotency record is not in the append",
        "shared/runtime/execute.py",
        "self.store.append(Append(written, placements=places, record=record))",
        "self.store.append(Append(written, placements=places)); record and self.store.append(Append((), record=record))",
    ),
    Mutant(
        "no idempotency record",
        "shared/runtime/execute.py",
        "placements=places, record=record))",
        "placements=places))",
    ),
    Mutant(
        "a repeated command gets another answer",
        "shared/runtime/execute.py",
        "return Answer(record.result)",
        'return Answer(record.result + " ")',
    ),
    Mutant(
        "a payment that was declined counts as made",
        "functions/sagas/process_payment/main.py",
        "partial(fulfilment.record_payment_failure, reason)",
        'partial(fulfilment.record_payment, "none")',
    ),
    Mutant(
        "an unreadable answer counts as declined",
        "functions/sagas/process_payment/main.py",
        "        case Unreadable():",
        '        case Unreadable():\n            execute_step(store, partial(fulfilment.record_payment_failure, "?"), command, ref)',
    ),
    Mutant(
        "a provider that does not answer has declined",
        "shared/gateways/providers.py",
        '                raise TimedOut(f"no answer from {name} in time; it may have happened") from error',
        '                return _Answer("refused", "", str(error))',
    ),
    Mutant(
        "a refund is recorded before it is made",
        "functions/sagas/refund_payment/main.py",
        "        engines.payments.refund(str(command.order_id))\n        execute_step(store, fulfilment.record_refund, command, ref)",
        "        execute_step(store, fulfilment.record_refund, command, ref)\n        engines.payments.refund(str(command.order_id))",
    ),
    Mutant(
        "an order is charged under a new key each time",
        "functions/sagas/process_payment/main.py",
        "engines.payments.charge(str(command.order_id),",
        "engines.payments.charge(str(__import__('shared.resilience.clock').resilience.clock.new_id()),",
    ),
    Mutant(
        "reserving does not look at what others have reserved",
        "shared/domain/product.py",
        "    if product.available < quantity:",
        "    if product.on_hand < quantity:",
    ),
    Mutant(
        "a confirmed order does not take its units",
        "shared/domain/fulfilment.py",
        "return [events.OrderConfirmed(command.order_id), *shipped]",
        "return [events.OrderConfirmed(command.order_id)]",
    ),
    Mutant(
        "a failed step is not undone",
        "shared/sagas/definition.py",
        "return _backward(saga, _because(saga, progress, event), progress.step - 1, now)",
        "return _backward(saga, _because(saga, progress, event), -1, now)",
    ),
    Mutant(
        "no sweep",
        "functions/operations/sweep_sagas/main.py",
        '"deadlines": lambda: saga.sweep(clock.now()),',
        "",
    ),
    Mutant(
        "a rebuild switches although streams are incomplete",
        "shared/read_models/rebuild.py",
        "        self._save(now, after if streams and not now.wanted else self._after_pass(after))",
        "        kept = replace(after, state='KEPT', live=now.other, other=now.live)\n"
        "        self._save(now, after if streams and not now.wanted else kept)",
        within=600,
    ),
    Mutant(
        "a dropped generation is still read",
        "shared/read_models/transitions.py",
        '    return now.beside(now.other, "DROPPED")',
        '    return replace(now.beside(now.live, "DROPPED"), live=now.other)',
        within=600,
    ),
    Mutant(
        "a retried dead letter is not published",
        "functions/operations/retry_dead_letters/main.py",
        "engines.publisher.publish([message for message in messages if message])",
        "[message.id for message in messages if message]",
        within=600,
    ),
    Mutant(
        "a moved product is still counted in its old category",
        "shared/read_models/project.py",
        "        amounts[share.key].subtract(share.amounts)",
        "        amounts[share.key].subtract({})",
    ),
    Mutant(
        "an order that failed counts as a sale",
        "functions/projections/project_sales/main.py",
        "return replace(sale, taken_back=True)",
        "return replace(sale, day=recorded_at.astimezone(UTC).date())",
    ),
    Mutant(
        "a share that does not change is added again",
        "shared/read_models/project.py",
        "    old = totals.shares(before) if before is not None else ()",
        "    old = totals.shares(before) if before not in (None, after) else ()",
    ),
    Mutant(
        "a best effort is not given up",
        "shared/sagas/definition.py",
        "    if step.best_effort and (refused or unanswered):",
        "    if False:",
    ),
    Mutant(
        "a step confirms an order twice",
        "shared/domain/fulfilment.py",
        "if order.status is not OrderStatus.SHIPPED or order.closing:",
        "if order.closing:",
    ),
    Mutant(
        "a dead letter is not stored",
        "functions/operations/record_dead_letter/main.py",
        "    engines.dead_letters.record(delivery)\n",
        "",
    ),
    Mutant(
        "a kept generation is not written",
        "shared/read_models/generations.py",
        'if self.other and self.state in ("BUILDING", "KEPT") else [self.live]',
        'if self.other and self.state == "BUILDING" else [self.live]',
        within=600,
    ),
    Mutant(
        "an error of a handler is acknowledged",
        "shared/runtime/push_functions.py",
        "        if not waits:\n            raise\n",
        "        if not waits:\n            return\n",
    ),
    Mutant(
        "an outbox row is deleted before its message is published",
        "shared/messaging/outbox.py",
        "        accepted = publisher.publish(messages)\n        outbox.delete(accepted)\n",
        "        outbox.delete([one.id for one in messages])\n        accepted = publisher.publish(messages)\n",
    ),
    Mutant(
        "a message that was not accepted is deleted",
        "shared/messaging/outbox.py",
        "        outbox.delete(accepted)\n",
        "        outbox.delete([one.id for one in messages])\n",
        within=600,
    ),
    Mutant(
        "shipped units stay reserved",
        "shared/domain/product.py",
        "return replace(product, on_hand=on_hand, reserved=_without(product.reserved, order_id))",
        "return replace(product, on_hand=on_hand)",
    ),
    Mutant(
        "a refund is not asked of the provider",
        "functions/sagas/refund_payment/main.py",
        "        engines.payments.refund(str(command.order_id))\n",
        "",
    ),
    Mutant(
        "a parcel is not called back",
        "functions/sagas/cancel_shipping/main.py",
        "        engines.shipping.cancel(str(command.order_id))\n",
        "",
        1000,
    ),
    Mutant(
        "the expected version is read after the decision",
        "shared/runtime/execute.py",
        "        written = records([root, *others], events, context)\n",
        "        (root,), others = load(self.store, [self.root]), load(self.store, self.others or [])\n"
        "        written = records([root, *others], events, context)\n",
    ),
    Mutant(
        "messages are published before the commit",
        "tests/simulation/shop.py",
        """        self.call("append", append)
        self._shop.publish_events([announcement(event) for event in append.events])
""",
        """        self._shop.publish_events([announcement(event) for event in append.events])
        self.call("append", append)
""",
    ),
    Mutant(
        "readers of the log do not wait for running transactions",
        "tests/simulation/stores.py",
        "        if not self._running:\n            return self.entries\n",
        "        if True:\n            return self.entries\n",
        within=600,
    ),
    Mutant(
        "a client's Last-Event-ID is ignored",
        "shared/api/resolvers/common.py",
        "    start = seen or end\n",
        "    start = end\n",
    ),
    Mutant(
        "a subscriber that has caught up reads the queue again from its beginning",
        "shared/event_store/tail.py",
        "                    if entry.checkpoint > place:\n",
        "                    if True:\n",
        2000,
    ),
    Mutant(
        "a saga keeps a customer's words",
        "shared/sagas/coordinate.py",
        "forget(CODEC.decode(record), instead=record.type)",
        "CODEC.decode(record)",
    ),
    Mutant(
        "everybody sees who caused an event",
        "shared/api/resolvers/events.py",
        "vars(event.metadata) if personal else None",
        "vars(event.metadata)",
    ),
    Mutant(
        "everybody may cancel an order",
        "functions/commands/cancel_order/main.py",
        "            require_self(order.user_id, call.actor)\n",
        "            pass\n",
    ),
    Mutant(
        "customers may do what admins may",
        "shared/runtime/command.py",
        "            require(permission, actor)\n",
        "",
    ),
    Mutant(
        "everybody sees the customers of orders",
        "shared/api/resolvers/orders.py",
        '_personal("user_id", masked="***")',
        'lambda order, _: order["user_id"]',
    ),
    Mutant(
        "an erasure is not recorded on orders",
        "shared/runtime/erasing.py",
        "        streams = engines.event_log.of_key(erasure.key, _BATCH)\n",
        "        streams = []\n",
    ),
    Mutant(
        "a process keeps the keys of persons",
        "shared/erasure/sealed.py",
        "        return all_opened(events, self._keys)\n",
        """        kept = vars(self).setdefault("kept", {})

        class Kept:
            def of(self, ids):
                return {one: kept[one] for one in ids if one in kept or kept.update(keys().of([one])) is None}

        keys = self._keys
        return all_opened(events, Kept)
""",
    ),
)


class _Loader(SourceFileLoader):
    """Compiles the mutant's text of one module."""

    def __init__(self, name: str, path: str, mutant: Mutant) -> None:
        super().__init__(name, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType | None:
        text = mutated(self._mutant, (ROOT / self._mutant.file).read_text())
        return compile(text, self.path, "exec")


class _Finder(MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target)
        if spec and spec.origin == str(ROOT / self._mutant.file):
            spec.loader = _Loader(name, spec.origin, self._mutant)
        return spec


def mutated(mutant: Mutant, text: str) -> str:
    """Return the file's text with the fault. Raise LookupError unless it fits exactly once."""
    if text.count(mutant.old) != 1:
        raise LookupError(f"{mutant.name}: its old text stands {text.count(mutant.old)} times in {mutant.file}")
    return text.replace(mutant.old, mutant.new)


def found_after(mutant: Mutant) -> int | None:
    """Return the number of histories until this process's mutant is found, None if it is not."""
    sys.meta_path.insert(0, _Finder(mutant))
    from tests.simulation.history import play

    return next((number for number in range(mutant.within) if play(number).broken), None)


def tell(name: str) -> int:
    """Print the first history that a planted fault breaks, made small. Return 1 if none does or no
    fault has this name."""
    if name not in names():
        print(f"no planted fault is called {name!r}; choose one of these:", *names(), sep="\n  ")
        return 1
    return subprocess.run([sys.executable, "-m", "tests.simulation.mutants", name, "--tell"], check=False).returncode


def prove_all(processes: int, chosen: Sequence[Mutant] = MUTANTS) -> int:
    """Print how soon each mutant is found; return 1 if one is not."""
    with ThreadPoolExecutor(processes) as pool:
        lines = list(pool.map(partial(_prove, time.monotonic()), chosen))
    missed = [mutant.name for mutant, found in zip(chosen, lines, strict=True) if not found]
    print(f"{len(chosen) - len(missed)} of {len(chosen)} planted faults found")
    return 1 if missed else 0


def _prove(began: float, mutant: Mutant) -> bool:
    command = [sys.executable, "-m", "tests.simulation.mutants", mutant.name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    number = done.stdout.strip() if done.returncode == 0 else "NOT FOUND"
    print(
        f"{time.monotonic() - began:6.0f} s  {mutant.name}: {number} (of {mutant.within}) {_last(done.stderr)}",
        flush=True,
    )
    return done.returncode == 0


def _last(text: str) -> str:
    return next(iter(text.strip().splitlines()[-1:]), "")


def names() -> Iterator[str]:
    return (mutant.name for mutant in MUTANTS)


_SMALL_ENOUGH = 25
"""Attempts to make a history small: a shop that never comes to rest takes seconds for each."""


def _tell(found: int) -> None:
    from tests.simulation.history import play
    from tests.simulation.shrink import shrink, story

    outcome = play(found)
    print(f"broken: {outcome.broken[0]}\nThis is the history, made small:", flush=True)
    print("\n".join(story(shrink(outcome, _SMALL_ENOUGH))))


if __name__ == "__main__":
    mutant = next(one for one in MUTANTS if one.name == sys.argv[1])
    found = found_after(mutant)
    print("history", found, flush=True)
    if found is not None and "--tell" in sys.argv:
        _tell(found)
    sys.exit(found is None)
