"""The repository's own files are found without reading those of other people's packages."""

from pathlib import Path

from scripts.local.files import files_below


def test_packages_and_bytecode_are_left_out(tmp_path: Path) -> None:
    for name in ("b.md", "a/c.md", "a/d.py", "a/node_modules/e.md", "a/__pycache__/f.md", "node_modules/g/h.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [str(file.relative_to(tmp_path)) for file in files_below(tmp_path, ".md")] == ["b.md", "a/c.md"]
    assert len(list(files_below(tmp_path))) == 3
