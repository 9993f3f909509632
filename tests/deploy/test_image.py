"""What the image is built from."""

import subprocess
import sys
import tomllib
from pathlib import Path

from scripts.local.deploy_image import copy_sources

UNCHECKED_HASH = b"\x01\x00\x00\x00"
"""The flags of a file of bytecode that is taken without a look at its source (PEP 552)."""


def test_the_last_step_of_the_build_compiles_our_own_code_for_good(tmp_path: Path) -> None:
    copy_sources(tmp_path)
    project = tomllib.loads((tmp_path / "project.toml").read_text())
    (step,) = project["io"]["buildpacks"]["post"]["group"]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    search = f"{tmp_path / 'bin'}:/usr/bin:/bin"
    subprocess.run(["sh", "-c", step["script"]["inline"]], cwd=tmp_path, env={"PATH": search}, check=True)
    sources = [file for folder in ("functions", "shared") for file in (tmp_path / folder).rglob("*.py")]
    assert len(sources) > 100
    for source in sources:
        (compiled,) = (source.parent / "__pycache__").glob(f"{source.stem}.*.pyc")
        assert compiled.read_bytes()[4:8] == UNCHECKED_HASH
