"""Java keeps the emulators' classes in a file, which one process at a time writes, and which
another version does not use."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from scripts.local.java_archives import archive_of, reading, written


def test_it_is_written_once_and_used_from_then_on(tmp_path: Path) -> None:
    archive, options = tmp_path / "x.jsa", []

    def write() -> None:
        with written(archive) as option:
            options.append(option)
            if option:
                Path(option.partition('"')[2].rstrip('"')).write_text("classes")

    assert reading(archive) == ""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: write(), range(4)))
    assert (options.count(None), archive.read_text()) == (3, "classes")
    assert reading(archive) == f'-XX:SharedArchiveFile="{archive}"'


def test_java_that_ends_without_writing_leaves_none(tmp_path: Path) -> None:
    with written(tmp_path / "x.jsa"):
        pass
    assert reading(tmp_path / "x.jsa") == ""


def test_another_version_of_an_emulator_has_another(tmp_path: Path) -> None:
    jar = tmp_path / "emulator.jar"
    jar.write_text("1")
    before = archive_of(jar)
    assert archive_of(jar) == before
    os.utime(jar, (0, 0))
    assert archive_of(jar) != before


def test_the_emulators_of_the_tests_use_theirs(pubsub: str, firestore: str) -> None:
    for address in (pubsub, firestore):
        port = f"--port={address.partition(':')[2]}"
        (java,) = [one for one in psutil.process_iter(["cmdline"]) if port in (one.info["cmdline"] or ())]
        assert "/.dev/java/" in Path(f"/proc/{java.pid}/maps").read_text()
