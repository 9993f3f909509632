"""Say what the start waits for, and how long that took last time."""

import json
import re
import time
from pathlib import Path


class Progress:
    """`file`: keeps the seconds of each step until the next start. `mode`: only starts of the same
    mode are compared."""

    def __init__(self, file: Path, mode: str) -> None:
        self._file, self._mode = file, mode
        self._last, self._now = _read(file).get(mode, {}), dict[str, float]()
        self._step, self._began = "", time.monotonic()

    def __call__(self, step: str) -> None:
        """Begin a step, which ends the one before."""
        self._end_step()
        self._step = re.split(r"[,;:]", step)[0]
        known = self._last.get(self._step)
        print(f"  ... {step}{'' if known is None else f' ({known:.1f} s last time)'}", flush=True)

    def done(self) -> None:
        """End the start and keep its times."""
        self._end_step()
        self._step, self._last = "", {}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(_read(self._file) | {self._mode: self._now}))

    def _end_step(self) -> None:
        now = time.monotonic()
        if self._step:
            self._now[self._step] = round(now - self._began, 1)
        self._began = now


def _read(file: Path) -> dict[str, dict[str, float]]:
    try:
        read: dict[str, dict[str, float]] = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):  # another start may be writing it
        return {}
    return read
