"""A payment, shipping or notification provider that acts and does not answer, answers late or
twice, or answers nonsense."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import get_args

import httpx

from shared.gateways.providers import TIMEOUT
from shared.gateways.sandbox import Kind, Sandbox
from tests.simulation.invariants import Deed
from tests.simulation.ports import Faults, rate
from tests.simulation.tape import Tape
from tests.simulation.world import SimulatedWorld, this_task

_NONSENSE = ("<html>", "{}", '{"status": "perhaps"}', "[]")


@dataclass
class Provider(httpx.BaseTransport):
    """Keeps the contract of shared/gateways: a key's first answer stands; undoing an unused key
    forbids it for ever.

    `ledgers`: by kind and key. `silent_until`: when an outage ends. `sandbox`: the shop's own,
    which `ask` calls with method, path and body; None: the simulation is the provider.
    """

    world: SimulatedWorld
    tape: Tape
    faults: Faults
    ledgers: Mapping[str, dict[str, Deed]] = field(default_factory=lambda: {kind: {} for kind in get_args(Kind)})
    silent_until: float = 0.0
    sandbox: Sandbox | None = None
    ask: Callable[[str, str, bytes], int] = lambda *_: 0

    def __post_init__(self) -> None:
        kinds = {"refusal": 0.5, "hang": 0.5, "error": 1.0, "lateness": 1.0, "nonsense": 0.3}
        self._rates = [rate(self.tape, f"a provider's {kind}", most) for kind, most in kinds.items()]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        _, kind, key = request.url.path.split("/")
        engines = this_task().process.engines
        if engines and "half-open" in engines.breakers.states().values():
            self.faults.marks["half-open breaker"] += 1
        return self.faults.call(f"provider of {kind}", request.method, lambda: self._answer(request, kind, key))

    def _answer(self, request: httpx.Request, kind: str, key: str) -> httpx.Response:
        if self.world.time < self.silent_until:
            raise httpx.ConnectError("no route", request=request)
        fault = self.tape.pick(f"{kind} {request.method}", self._rates) if self.faults.on else 0
        if fault == 4:
            self.world.tell(f"the provider of {kind} takes its time")
            self.world.sleep(TIMEOUT + 1)
        if fault == 3:
            self.world.tell(f"the provider of {kind} answers 500")
            return httpx.Response(500)
        if self.sandbox:
            status = self.ask(request.method, request.url.path, request.read())
            self.read_sandbox()
            if status != 200:
                return httpx.Response(503)
        elif request.method == "DELETE":
            self._undo(kind, key)
        else:
            self._make(kind, key, request, fault == 1)
        entry = self.ledgers[kind][key]
        self.world.tell(f"{request.method} {kind}/{key[-4:]}: {entry.status}")
        if fault == 2:
            self.world.tell(f"the provider of {kind} has acted, and does not answer")
            self.world.sleep(TIMEOUT)
            raise httpx.ReadTimeout("no answer", request=request)
        if fault == 4:
            raise httpx.ReadTimeout("late answer", request=request)
        if fault == 5:
            return httpx.Response(200, text=_NONSENSE[self.tape.choose("nonsense", len(_NONSENSE))])
        refused = "refused" if request.method == "PUT" and entry.status == "undone" else entry.status
        return httpx.Response(200, json={"status": refused, "reference": entry.reference, "reason": "as it pleases"})

    def _make(self, kind: str, key: str, request: httpx.Request, refuse: bool) -> None:
        amount = Decimal(json.loads(request.read()).get("amount", 0))
        self.ledgers[kind].setdefault(key, Deed("refused" if refuse else "accepted", amount, f"ref-{key}"))

    def _undo(self, kind: str, key: str) -> None:
        made = self.ledgers[kind].get(key, Deed("undone", Decimal(0), ""))
        self.ledgers[kind][key] = made._replace(status="undone")

    def read_sandbox(self) -> None:
        """Copy the sandbox's ledger."""
        for kind in self.ledgers if self.sandbox else ():
            for entry in self.sandbox.ledger(kind) if self.sandbox else ():
                deed = Deed(entry["status"], Decimal(entry["amount"]), entry["reference"])
                self.ledgers[kind][entry["key"]] = deed
