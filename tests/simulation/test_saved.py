"""A long run goes on where it was killed, and runs of several machines are added up."""

from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.run import many
from tests.simulation.saved import Saved, Totals, merged, read


def a_run(first: int, histories: int) -> Saved:
    hits = Counter({("outbox", "after"): histories})
    return Saved(first, Totals(histories, {first: "2 units are lost"}, hits, Counter(late=1), 1.5, Counter(abc=3)), 2.5)


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    a_run(100, 50).write(tmp_path / "run.json")
    assert read(tmp_path / "run.json", 100) == a_run(100, 50)
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_runs_of_different_seeds_are_added_up(tmp_path: Path) -> None:
    files = [tmp_path / "b.json", tmp_path / "a.json"]
    a_run(100, 50).write(files[0])
    a_run(0, 100).write(files[1])
    total = merged(files)
    assert (total.first, total.totals.histories, total.wall, total.totals.processor) == (0, 150, 5.0, 3.0)
    assert total.totals.hits == {("outbox", "after"): 150}
    assert total.totals.broken == dict.fromkeys((0, 100), "2 units are lost")


def test_runs_with_a_common_seed_are_not_added_up(tmp_path: Path) -> None:
    for name, first in (("a.json", 0), ("b.json", 99)):
        a_run(first, 100).write(tmp_path / name)
    with pytest.raises(ValueError, match="seed 99 was played by two"):
        merged([tmp_path / "a.json", tmp_path / "b.json"])


def test_a_file_of_other_seeds_is_refused(tmp_path: Path) -> None:
    a_run(100, 50).write(tmp_path / "run.json")
    with pytest.raises(ValueError, match="begins with seed 100, not 0; pass --first 100"):
        read(tmp_path / "run.json")


def test_a_run_that_was_stopped_goes_on_and_is_like_one_that_was_not(tmp_path: Path) -> None:
    file, whole = tmp_path / "run.json", Saved(0)
    many(Saved(0), 1, 1, file)
    many(read(file), 3, 1, file)
    many(whole, 3, 1)
    stopped = read(file)
    assert stopped.totals.histories == 3
    assert (stopped.totals.hits, stopped.totals.marks) == (whole.totals.hits, whole.totals.marks)
    assert list(stopped.totals.commits.values()) == [3]
