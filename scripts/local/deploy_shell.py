"""Runs the commands that a deployment consists of, and shows each of them; a dry run shows them only."""

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
    """Why it can't go on, and what to do about it."""


@dataclass(frozen=True)
class Answer:
    """What a command printed. `error`: what it complained of, in a dry run nothing."""

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
        """Its output goes to the terminal. Raises Stop with `otherwise` when it fails."""
        self._show(command)
        if not self.dry and _ran(command).returncode:
            raise Stop(otherwise)

    def ask(self, command: Sequence[str], example: str = "", offline: bool = False) -> Answer:
        """What it answers; in a dry run the example, unless it needs nothing but this machine."""
        self._show(command)
        if self.dry and not offline:
            return Answer(True, example)
        done = _ran(command, capture_output=True, text=True)
        return Answer(done.returncode == 0, done.stdout.strip(), done.stderr.strip())

    def answer(self, question: str) -> str:
        """What whoever sits there types. Raises Stop when nobody does."""
        try:
            return input(question).strip()
        except EOFError as error:
            raise Stop("Nobody is there to answer, so nothing more was done. With --yes it asks less.") from error

    def tell(self, text: str) -> None:
        print(text, flush=True)

    def step(self, title: str) -> None:
        print(f"\n== {title}", flush=True)

    def _show(self, command: Sequence[str]) -> None:
        print(f"$ {shlex.join(command)}", flush=True)


def _ran(command: Sequence[str], **how: Any) -> "subprocess.CompletedProcess[str]":
    """Ctrl-C is the command's to hear: Terraform ends what it is at, and would lose it if it were killed."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run(list(command), cwd=ROOT, check=False, **how)
    except OSError as error:
        raise Stop(f"{command[0]} can't be started: {error.strerror}") from error
    finally:
        signal.signal(signal.SIGINT, before)
