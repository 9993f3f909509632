"""A log line says what happened, why, and for whom, and never what nobody may read."""

import json
import subprocess
import sys

import pytest

from shared.observability.logs import _masked
from shared.runtime.manifest import ROOT

PROGRAM = """
import logging, structlog
from shared.observability import logs
from shared.observability.context import Context, within
logs.configure("kyoto")
log = structlog.get_logger()
with within(Context("c-1", "k-1", "hanako", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")):
    log.warning("お茶 🍵", count=3, header="Bearer abc.def", note="write to hanako@example.co.jp, eyJhbGciOi.eyJzdWIi.sig")
    logging.getLogger("library").error("lost %s", "connection")
    try:
        raise ValueError("ann@example.com is not a number")
    except ValueError:
        log.exception("failed")
"""


def lines(**environment: str) -> list[str]:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PYTHONPATH": str(ROOT), "PATH": "", "PYTHONIOENCODING": "utf-8", **environment},
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    )
    assert run.stderr == ""
    return run.stdout.splitlines()


def test_in_the_cloud_a_line_is_one_json_object_that_cloud_logging_understands() -> None:
    first, second, third = map(json.loads, lines(K_SERVICE="create-order"))
    assert first | {"timestamp": ""} == {
        "severity": "WARNING",
        "message": "お茶 🍵",
        "count": 3,
        "header": "***",
        "note": "write to ***@***, ***",
        "correlation_id": "c-1",
        "actor": "hanako",
        "function": "create-order",
        "logging.googleapis.com/trace": "projects/kyoto/traces/0af7651916cd43dd8448eb211c80319c",
        "logging.googleapis.com/spanId": "b7ad6b7169203331",
        "timestamp": "",
    }
    assert (second["severity"], second["message"], second["correlation_id"]) == ("ERROR", "lost connection", "c-1")
    assert third["message"] == "failed"
    assert "Traceback" in third["stack_trace"]
    assert "ann@example.com" not in json.dumps(third)


def test_elsewhere_it_is_for_people() -> None:
    text = "\n".join(lines())
    assert "お茶 🍵" in text
    assert "[warning" in text
    with pytest.raises(json.JSONDecodeError):
        json.loads(text.splitlines()[0])


@pytest.mark.parametrize("secret", ["hanako@example.com", "a.b+c@sub.example.co.jp", "bearer x.y.z", "eyJhb.eyJz.abc"])
def test_tokens_and_addresses_are_masked(secret: str) -> None:
    assert secret.rsplit(maxsplit=1)[-1] not in _masked(f"before {secret} after")
    assert _masked("order 0190b1b6-7c5e@3 times, 50% eyes") == "order 0190b1b6-7c5e@3 times, 50% eyes"
