"""The measurement of the tests counts each process for what it is."""

import time

import pytest

from scripts.local.bench_tests import kind_of, measure, servers


@pytest.mark.parametrize(
    ("command_line", "kind"),
    [
        ("/usr/lib/postgresql/15/bin/postgres -D /dev/shm/x", "PostgreSQL"),
        ("java -jar /root/.cache/cloud-firestore-emulator.jar --port 1", "Google's emulators"),
        ("/usr/lib/chromium/chromium --type=renderer", "the browser"),
        ("/x/.venv/bin/python -m mypy", "lint, types and layers"),
        ("/x/.venv/bin/python -m pytest -n 3", "the tests"),
        ("/x/.venv/bin/python -u -c import sys;exec(eval(sys.stdin.readline()))", "the tests"),
        ("/x/.venv/bin/python -m scripts.local.dev --memory", "the shop and its functions"),
        ("git status", "others"),
    ],
)
def test_a_process_counts_for_what_it_is(command_line: str, kind: str) -> None:
    assert kind_of(command_line) == kind


def test_a_run_is_timed_with_all_its_processes() -> None:
    run = measure(["tests/scripts/test_bench_order.py", "-p", "no:cacheprovider"])
    assert 0 < run.processor["the tests"] < run.seconds * 64


def test_servers_that_began_since_a_moment_are_found(postgres: str) -> None:
    assert {one.name() for one in servers(0)} == {"postgres"}
    assert servers(time.time() + 3600) == []
