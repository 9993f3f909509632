"""Make the virtual environment in which all commands run. Use only Python's standard library."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
REQUIREMENTS = [ROOT / "requirements.txt", ROOT / "requirements-dev.txt"]
_STAMP = VENV / ".installed"


def ready() -> Path:
    """Return the environment's Python after installing missing packages. Exit with instructions
    when that fails."""
    _require_python()
    if not _installed():
        with (ROOT / ".venv.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # a second first start waits here
            if not _installed():
                _install()
    return VENV / "bin" / "python"


def run_module(module: str, arguments: list[str]) -> None:
    """Replace this process with `python -m module` in the environment, from the repository's
    root."""
    _become(ready(), module, arguments)


def run_plainly(module: str, arguments: list[str]) -> None:
    """Run the module with the Python of this process: for scripts that need no packages and must
    work without any."""
    _require_python()
    _become(Path(sys.executable), module, arguments)


def _require_python() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - the user's Python may be older
        sys.exit(
            f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}. Try: python3.11 {' '.join(sys.argv)}"
        )


def _become(python: Path, module: str, arguments: list[str]) -> None:
    os.chdir(ROOT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    os.execve(python, [str(python), "-m", module, *arguments], environment)


def _installed() -> bool:
    return _STAMP.exists() and _STAMP.read_text() == _wanted()


def _wanted() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for file in REQUIREMENTS:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _install() -> None:
    python = VENV / "bin" / "python"
    if not python.exists() or subprocess.run([python, "-c", "import pip"], check=False, capture_output=True).returncode:
        print("Making a virtual environment in .venv", file=sys.stderr, flush=True)
        _make_venv()
    print(
        "Installing requirements.txt and requirements-dev.txt (a minute or two at first)",
        file=sys.stderr,
        flush=True,
    )
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check"]
    pip += [] if sys.stdout.isatty() else ["--quiet"]  # progress is for a terminal, not for a log
    files = [argument for file in REQUIREMENTS for argument in ("-r", str(file))]
    if subprocess.run([*map(str, pip), *files], check=False).returncode:
        sys.exit("Installing failed; pip's message above says why. Fix the cause and run this again.")
    _STAMP.write_text(_wanted())


def _make_venv() -> None:
    shutil.rmtree(VENV, ignore_errors=True)
    try:
        venv.create(VENV, with_pip=True)
    except (subprocess.CalledProcessError, OSError) as error:
        sys.exit(f"Can't make a virtual environment ({error}). On Debian and Ubuntu: apt-get install python3-venv")
