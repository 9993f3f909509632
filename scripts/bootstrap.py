"""Make the virtual environment in which all commands run. Use only Python's standard library."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
REQUIREMENTS = [ROOT / "requirements.txt", ROOT / "requirements-dev.txt"]
_STAMP = VENV / ".installed"
_PINNED = ROOT / ".python-version"
_QUIET = [] if sys.stdout.isatty() else ["--quiet"]  # progress is for a terminal, not for a log


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
    root. For --help print the text that scripts/readme has written, which needs no packages."""
    if {"-h", "--help"} & {*arguments}:
        print(_help(Path(sys.argv[0]).name, arguments), end="")
        return
    _become(ready(), module, arguments)


def run_plainly(module: str, arguments: list[str]) -> None:
    """Run the module with the Python of this process: for scripts that need no packages and must
    work without any."""
    _require_python()
    _become(Path(sys.executable), module, arguments)


def _help(script: str, arguments: list[str]) -> str:
    """Return the help of the command, or of its subcommand if there is one among the arguments."""
    parts = (ROOT / "scripts" / "help.txt").read_text(encoding="utf-8").split("\n===== ")
    texts = {title: text for title, _, text in (part.partition("\n") for part in parts)}
    wanted = [f"scripts/{script} {argument}" for argument in arguments] + [f"scripts/{script}"]
    return next(texts[title] for title in wanted if title in texts)


def _require_python() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - the user's Python may be older
        sys.exit(
            f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}. Try: python3.11 {' '.join(sys.argv)}"
        )


def _become(python: Path, module: str, arguments: list[str]) -> None:
    os.chdir(ROOT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    # Containers often set it. Each of the many processes would compile all our code again.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    os.execve(python, [str(python), "-m", module, *arguments], environment)


def _installed() -> bool:
    return (VENV / "bin" / "python").exists() and _STAMP.exists() and _STAMP.read_text() == _wanted()


def _wanted() -> str:
    digest = hashlib.sha256(_PINNED.read_bytes() if _pinned_python() else sys.version.encode())
    for file in REQUIREMENTS:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _pinned_python() -> str | None:
    """Return the command of the Python that .python-version names, if this machine has it."""
    version = _PINNED.read_text().strip()
    if sys.version.startswith(f"{version}."):
        return sys.executable
    return shutil.which(f"python{version}")


def _install() -> None:
    python = VENV / "bin" / "python"
    base = _base()
    if _version([str(python)]) != _version(base) or not _succeeds([str(python), "-m", "pip", "--version"]):
        _say(f"Making a virtual environment in .venv, with Python {_version(base)}")
        _make_venv(base)
    _say("Installing requirements.txt and requirements-dev.txt (half a minute at first)")
    files = [argument for file in REQUIREMENTS for argument in ("-r", str(file))]
    uv = [str(VENV / "bin" / "uv"), "pip", "install", "--python", str(python), "--compile-bytecode", *_QUIET]
    if not (_has_uv(python) and _run([*uv, *files])) and not _run([*_pip(python), *files]):
        sys.exit("Installing failed; pip's message above says why. Fix the cause and run this again.")
    _STAMP.write_text(_wanted())


def _base() -> list[str]:
    """Return the command of the Python to make the environment with: the one of .python-version,
    which is the image's, or else this process's."""
    pinned = _pinned_python()
    if pinned and _version([pinned]):  # pyenv has a command for a version that is not switched on
        return [pinned]
    _say(f"This machine has no Python {_PINNED.read_text().strip()}, which the cloud runs; using {sys.executable}")
    return [sys.executable]


def _version(python: list[str]) -> str | None:
    """Return the version of a Python, such as 3.13.0; None when it does not run."""
    command = [*python, "-c", "import platform; print(platform.python_version())"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (subprocess.CalledProcessError, OSError):
        return None


def _has_uv(python: Path) -> bool:
    """Install uv, which is many times faster than pip, at its locked version. Return whether that
    succeeded: it has no files for some machines."""
    locked = re.search(r"^uv==.*(?:\n +--hash=.*)+", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE)
    if locked is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        requirement = Path(folder) / "uv.txt"
        requirement.write_text(f"{locked.group()}\n")
        return _succeeds([*_pip(python), "-r", str(requirement)])


def _pip(python: Path) -> list[str]:
    return [str(python), "-m", "pip", "install", "--disable-pip-version-check", *_QUIET]


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def _run(command: list[str]) -> bool:
    return subprocess.run(command, check=False).returncode == 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _make_venv(base: list[str]) -> None:
    shutil.rmtree(VENV, ignore_errors=True)
    if not _run([*base, "-m", "venv", str(VENV)]):
        sys.exit("Can't make a virtual environment; see above. On Debian and Ubuntu: apt-get install python3-venv")
