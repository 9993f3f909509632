"""Importing a module does no work: it reads no file, starts no thread and opens no socket. A
function imports only what it needs to start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.local.files import files_below
from shared.config.manifest import ROOT

OURS = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for folder in ("shared", "functions")
    for file in files_below(ROOT / folder, ".py")
)

# Libraries do work when they are imported (psutil reads /proc): import them before the watch
# begins.
LIBRARIES = """
import importlib, sys
for name in sys.stdin.read().split():
    importlib.import_module(name)
print(*[name for name in sys.modules if name.partition(".")[0] not in ("shared", "functions")])
"""

LOADED = """
import importlib, sys
for name in sys.stdin.read().split():
    importlib.import_module(name)
print(*sys.modules)
"""

WATCHED = """
import contextlib, importlib, pydantic, sys, threading
ours, libraries = (line.split() for line in sys.stdin.read().splitlines())
for name in libraries:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
pydantic.TypeAdapter(int)  # the first validator makes pydantic look for plugins in every distribution

def watch(event, arguments):
    reads = event == "open" and not str(arguments[0]).endswith((".py", ".pyc", ".so"))
    if reads or event in ("socket.__new__", "subprocess.Popen"):
        print(f"importing {importing}: {event} {arguments[0]}")

sys.addaudithook(watch)
threading.Thread.start = lambda thread: print(f"importing {importing}: starts {thread}")
for importing in ours:
    importlib.import_module(importing)
"""


def run(program: str, *lines: list[str], path: str = str(ROOT)) -> str:
    """Run the program in a fresh interpreter, with these lines as its input."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        input="\n".join(" ".join(line) for line in lines),
        env={"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_a_module_does_no_work() -> None:
    libraries = run(LIBRARIES, OURS).split()
    assert run(WATCHED, OURS, libraries) == ""


@pytest.mark.parametrize(
    "work",
    [
        "open('data.txt', 'w')",
        "import threading; threading.Thread(target=print).start()",
        "import socket; socket.socket().close()",
        "import subprocess; subprocess.run(['true'])",
    ],
)
def test_a_module_that_works_at_import_is_found(tmp_path: Path, work: str) -> None:
    (tmp_path / "busy.py").write_text(f"import os; os.chdir({str(tmp_path)!r}); {work}")
    assert "importing busy: " in run(WATCHED, ["busy"], ["threading", "socket", "subprocess"], path=str(tmp_path))


_LARGE = (
    "google.cloud.firestore",
    "google.cloud.pubsub_v1",
    "grpc",
    "firebase_admin",
    "opentelemetry.sdk",
    "iso4217",
    "psutil",
    "psycopg",
)
NOT_NEEDED = {
    "commands": (*_LARGE, "httpx", "shared.sagas.store", "shared.dead_letters", "shared.gateways"),
    "projections": (*_LARGE, "httpx", "shared.sagas.store", "shared.dead_letters.postgres", "shared.gateways"),
    "sagas": (*_LARGE, "shared.read_models.compare", "shared.dead_letters.postgres", "shared.gateways.sandbox"),
    "graphql": (*_LARGE, "httpcore", "shared.gateways.providers", "shared.runtime.projection"),
}
"""What the functions of a group may need later, but not to start: a cold start would wait for its
import."""


@pytest.mark.parametrize("group", NOT_NEEDED)
def test_a_function_imports_nothing_that_it_does_not_need_to_start(group: str) -> None:
    functions = [module for module in OURS if module.startswith(f"functions.{group}.")]
    loaded = run(LOADED, functions).split()
    assert [name for name in loaded if f"{name}.".startswith(tuple(f"{one}." for one in NOT_NEEDED[group]))] == []


def test_a_function_that_only_reads_makes_no_publisher() -> None:
    reads = "from shared.config.settings import Settings; from shared.runtime.engines import Engines\n"
    reads += "Engines(Settings()).event_store\nimport sys; print([n for n in sys.modules if 'pubsub' in n])"
    assert run(reads) == "[]\n"
