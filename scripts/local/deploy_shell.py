"""Run and print the commands of a deployment; a dry run only prints them."""

import json
import shlex
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Stop(Exception):
    """The deployment cannot continue; the message says why and what to do."""


@dataclass(frozen=True)
class Answer:
    """A command's output. `error`: its error output, empty in a dry run."""

    ok: bool
    text: str
    error: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.text or "{}")


@dataclass(frozen=True)
class Shell:
    dry: bool = False

    def do(self, command: Sequence[str], otherwise: str) -> None:
        """Run the command; its output goes to the terminal. Raise Stop with `otherwise` when it fails."""
        self._show(command)
        if not self.dry and _ran(command).returncode:
            raise Stop(otherwise)

    def ask(self, command: Sequence[str], example: str = "", offline: bool = False) -> Answer:
        """Return the command's answer; in a dry run the example, unless the command works `offline`."""
        self._show(command)
        if self.dry and not offline:
            return Answer(True, example)
        done = _ran(command, capture_output=True, text=True)
        return Answer(done.returncode == 0, done.stdout.strip(), done.stderr.strip())

    def answer(self, question: str) -> str:
        """Return the user's answer. Raise Stop when there is no input."""
        try:
            return input(question).strip()
        except EOFError as error:
            raise Stop("There is no input to read an answer from; nothing more was done. --yes asks less.") from error

    def tell(self, text: str) -> None:
        print(text, flush=True)

    def step(self, title: str) -> None:
        print(f"\n== {title}", flush=True)

    def _show(self, command: Sequence[str]) -> None:
        print(f"$ {shlex.join(command)}", flush=True)


def _ran(command: Sequence[str], **how: Any) -> "subprocess.CompletedProcess[str]":
    """Run the command and leave Ctrl-C to it: Terraform finishes its operation, and would lose it if killed."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run(list(command), cwd=ROOT, check=False, **how)
    except OSError as error:
        raise Stop(f"{command[0]} cannot be started: {error.strerror}") from error
    finally:
        signal.signal(signal.SIGINT, before)
