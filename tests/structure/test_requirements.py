"""Both requirements files match pyproject.toml: exact versions, each with hashes, as scripts/lock
writes them."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_PINNED = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)")

Declared = dict[str, list[str]]


def declared() -> Declared:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {
        "requirements.txt": project["project"]["dependencies"],
        "requirements-dev.txt": project["dependency-groups"]["dev"],
    }


def locked(name: str) -> dict[str, tuple[str, int]]:
    """Return the version and the number of hashes of each package in a requirements file."""
    entries = re.split(r"\n(?=[A-Za-z0-9])", (ROOT / name).read_text())
    found = {}
    for entry in entries:
        if pinned := _PINNED.match(entry):
            found[_canonical(pinned[1])] = pinned[2], entry.count("--hash=sha256:")
    return found


def _canonical(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_each_declared_package_is_locked_to_the_declared_version(name: str) -> None:
    versions = {package: version for package, (version, _) in locked(name).items()}
    for requirement in declared()[name]:
        pinned = _PINNED.fullmatch(requirement)
        assert pinned, f"{requirement} in pyproject.toml needs an exact version"
        assert versions.get(_canonical(pinned[1])) == pinned[2], f"{requirement}: run scripts/lock"


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_each_locked_package_has_the_hashes_of_its_files(name: str) -> None:
    assert locked(name)
    assert [package for package, (_, hashes) in locked(name).items() if hashes == 0] == []


def test_both_files_lock_a_shared_package_to_the_same_version() -> None:
    run, dev = locked("requirements.txt"), locked("requirements-dev.txt")
    assert {package: run[package][0] for package in run.keys() & dev.keys()} == {
        package: dev[package][0] for package in run.keys() & dev.keys()
    }
