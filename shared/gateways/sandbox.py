"""A payment, shipping and notification provider for trials: the method chooses the answer, like a
test card.

    approve, standard   accepted, like order-confirmed, with which the shop notifies customers
    decline, refuse     refused, like every method that is not listed here
    time-out            accepted, but the answer always comes too late
    fail-N              an error N times, then accepted

A fault changes every answer of a provider until it is taken back, as when the provider itself has
trouble.

The ledger is stored in SQLite, in the file named by SANDBOX_DATABASE or in memory.
"""

import re
import sqlite3
from dataclasses import dataclass
from decimal import Decimal
from threading import Lock
from typing import Any, Literal, get_args

from shared.domain.errors import Unavailable
from shared.resilience import clock

TOO_LATE = 4.0
"""Seconds that `time-out` takes: a little longer than a gateway waits, because it holds a
thread."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS ledger (
    kind TEXT NOT NULL, key TEXT NOT NULL, status TEXT NOT NULL, reference TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '', amount TEXT NOT NULL DEFAULT '0', failures INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, key)
)
"""
_FAULTS = "CREATE TABLE IF NOT EXISTS faults (kind TEXT PRIMARY KEY, fault TEXT NOT NULL)"

Kind = Literal["payments", "shipments", "notifications"]
Fault = Literal["NONE", "SLOW", "REFUSES", "DOWN"]
"""SLOW: every answer comes too late. REFUSES: everything new. DOWN: every call ends with an
error."""

LedgerEntry = dict[str, Any]


@dataclass(frozen=True)
class ProviderRequest:
    """`amount` and `currency`: of a payment. `user`: of a notification."""

    method: str
    amount: Decimal = Decimal(0)
    currency: str = ""
    user: str = ""


@dataclass(frozen=True)
class SetFault:
    provider: Kind
    fault: Fault


class Sandbox:
    def __init__(self, database: str = ":memory:") -> None:
        self._lock = Lock()
        self._db = sqlite3.connect(database, check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute(_SCHEMA)
        self._db.execute(_FAULTS)

    def close(self) -> None:
        self._db.close()

    def make(self, kind: str, key: str, request: ProviderRequest) -> LedgerEntry:
        """Return the key's first answer every time. Raise Unavailable where the method or a fault
        says so."""
        fault = self._suffered(kind)
        with self._lock:
            entry = self._find(kind, key)
            if entry is None or entry["status"] == "failing":
                entry = self._decide(kind, key, request, fault, entry["failures"] if entry else 0)
                self._store(entry)
        if request.method == "time-out":
            clock.sleep(TOO_LATE)
        if entry["status"] == "failing":
            raise Unavailable(f"the sandbox fails {request.method.removeprefix('fail-')} times, as requested")
        if entry["status"] == "undone":
            return entry | {"status": "refused", "reason": "it has been undone already"}
        return entry

    def undo(self, kind: str, key: str) -> LedgerEntry:
        """Undo the key's payment or shipment. One that was never made is forbidden from now on.
        Raise Unavailable."""
        self._suffered(kind)
        with self._lock:
            entry = self._find(kind, key) or self._entry(kind, key, "undone")
            entry = entry | ({"status": "undone"} if entry["status"] in ("accepted", "failing") else {})
            self._store(entry)
        return entry | {"status": "undone"}

    def faults(self) -> dict[str, str]:
        """Return the fault of each provider."""
        with self._lock:
            found = {row["kind"]: row["fault"] for row in self._db.execute("SELECT kind, fault FROM faults")}
        return dict.fromkeys(get_args(Kind), "NONE") | found

    def set_fault(self, wanted: SetFault) -> None:
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO faults VALUES (?, ?)", (wanted.provider, wanted.fault))

    def _suffered(self, kind: str) -> str:
        """Return the provider's fault after what it does to every call. Raise Unavailable."""
        fault = self.faults()[kind]
        if fault == "DOWN":
            raise Unavailable("the sandbox is down, as requested")
        if fault == "SLOW":
            clock.sleep(TOO_LATE)
        return fault

    def ledger(self, kind: str) -> list[LedgerEntry]:
        """Return every payment or every shipment that was ever requested."""
        with self._lock:
            return [dict(row) for row in self._db.execute("SELECT * FROM ledger WHERE kind = ?", (kind,))]

    def _decide(self, kind: str, key: str, request: ProviderRequest, fault: str, failures: int) -> LedgerEntry:
        method = request.method
        if fault == "REFUSES":
            return self._entry(kind, key, "refused", reason="the sandbox refuses everything, as requested")
        failing = re.fullmatch(r"fail-(\d{1,4})", method)
        if failing and failures < int(failing[1]):
            return self._entry(kind, key, "failing", failures=failures + 1)
        if method in ("approve", "standard", "order-confirmed", "time-out") or failing:
            return self._entry(kind, key, "accepted", reference=f"sandbox-{clock.new_id()}", amount=str(request.amount))
        requested = method in ("decline", "refuse")
        reason = f"the sandbox was told to {method}" if requested else f"unknown method {method}"
        return self._entry(kind, key, "refused", reason=reason)

    def _entry(self, kind: str, key: str, status: str, **fields: Any) -> LedgerEntry:
        blank = {"reference": "", "reason": "", "amount": "0", "failures": 0}
        return {"kind": kind, "key": key, "status": status} | blank | fields

    def _find(self, kind: str, key: str) -> LedgerEntry | None:
        row = self._db.execute("SELECT * FROM ledger WHERE kind = ? AND key = ?", (kind, key)).fetchone()
        return dict(row) if row else None

    def _store(self, entry: LedgerEntry) -> None:
        values = "VALUES (:kind, :key, :status, :reference, :reason, :amount, :failures)"
        self._db.execute(f"INSERT OR REPLACE INTO ledger {values}", entry)
