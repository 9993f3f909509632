"""Run and print the commands of a deployment; a dry run only prints them."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]


class Stop(Exception):
    """The deployment cannot continue; the message says why and what to do."""


class NotKnownYet(Stop):
    """Google refused what depends on something new. It takes minutes until all of Google knows a
    grant, a service account, an API or a metric; a right that is really missing looks the same."""


_NOT_KNOWN_YET = re.compile(
    "PERMISSION_DENIED|SERVICE_DISABLED|Error 403|has not been used in project|permission \\S+ denied"
    "|does not have .*(permission|access)|service account \\S+ does not exist|(cannot|could not) find metric",
    re.IGNORECASE,
)
_PATIENCE = "300"
_PAUSE = 15.0


def patience() -> float:
    """Return for how many seconds to wait for Google."""
    return float(os.environ.get("DEPLOY_PATIENCE_SECONDS", _PATIENCE))


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
        """Run the command; its output goes to the terminal. Raise Stop with `otherwise` when it
        fails: NotKnownYet when its last error output says so."""
        self._show(command)
        if self.dry:
            return
        code, errors = _ran_visibly(command)
        if code:
            raise (NotKnownYet if _NOT_KNOWN_YET.search(errors) else Stop)(otherwise)

    def until_known(self, step: Callable[[], T]) -> T:
        """Return what the step returns. Repeat it for `patience` seconds while Google refuses what
        is perhaps only new. Raise Stop."""
        until = time.monotonic() + patience()
        while True:
            try:
                return step()
            except NotKnownYet:
                left = until - time.monotonic()
                if left <= 0:
                    raise
                self.tell(
                    f"  Google may not know yet what was made just before: trying again, for {left:.0f} more seconds."
                )
            time.sleep(min(_PAUSE, patience() / 20))

    def ask(self, command: Sequence[str], example: str = "", offline: bool = False) -> Answer:
        """Return the command's answer; in a dry run the example, unless the command works
        `offline`."""
        self._show(command)
        if self.dry and not offline:
            return Answer(True, example)
        said: list[str] = []
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        code = _left_to_ctrl_c(command, lambda running: said.extend(running.communicate()), **pipes)
        return Answer(code == 0, said[0].strip(), said[1].strip())

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


def _ran_visibly(command: Sequence[str], last: int = 20_000) -> tuple[int, str]:
    """Run the command, whose output goes to the terminal; return its exit code and the end of its
    error output."""
    errors = ""

    def pass_on(running: "subprocess.Popen[str]") -> None:
        nonlocal errors
        for line in running.stderr or ():
            sys.stderr.write(line)
            sys.stderr.flush()
            errors = (errors + line)[-last:]

    return _left_to_ctrl_c(command, pass_on, stderr=subprocess.PIPE, text=True, errors="replace"), errors


def _left_to_ctrl_c(command: Sequence[str], attend: Callable[["subprocess.Popen[str]"], None], **how: Any) -> int:
    """Run the command and leave Ctrl-C to it: Terraform finishes its operation, and would lose it
    if killed."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with subprocess.Popen(list(command), cwd=ROOT, **how) as running:
            attend(running)
        return running.returncode
    except OSError as error:
        raise Stop(f"{command[0]} cannot be started: {error.strerror}") from error
    finally:
        signal.signal(signal.SIGINT, before)
