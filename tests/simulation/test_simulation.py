"""The simulation itself: equal seeds are equal histories, broken ones become small, and planted
faults are found."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from shared.config.manifest import ROOT, manifest
from tests.simulation.coverage import MARKS, PORTS, WAYS, never_hit, table
from tests.simulation.history import Outcome, play
from tests.simulation.mutants import MUTANTS, Mutant, mutated, tell
from tests.simulation.shrink import shrink, story
from tests.simulation.tape import Choices, Tape, load, save, smaller

TAPES = sorted((Path(__file__).parent / "tapes").glob("*.json"))
SEEDS_OF_RARE_FUNCTIONS = (63, 92, 45, 10, 123)
"""Histories that together use every function; others are played only when these no longer do."""
QUICKLY_FOUND = ("no relay", "a payment that was declined counts as made", "no idempotency record")


@pytest.mark.parametrize("tape", TAPES, ids=lambda tape: str(tape.stem))
def test_a_history_that_once_broke_a_promise_keeps_it(tape: Path) -> None:
    assert play(None, load(tape)).broken == []


def test_without_faults_every_order_comes_to_its_end() -> None:
    calm = play(None, {})
    assert calm.broken == []
    assert "OrderConfirmed" in " ".join(what for _, _, what in calm.story)


def test_a_history_that_does_not_end_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.simulation.world.MOST_CALLS", 100)
    assert [sentence.split("and ")[1] for sentence in play(None, {}).broken] == ["100 calls there is no end in sight"]


def test_the_dashboard_is_followed_to_the_state_at_rest() -> None:
    followed = play(None, {("the dashboard is followed", 0): 1})
    assert followed.broken == []
    assert followed.marks["dashboardStatsStream is followed"] > 0


@pytest.mark.parametrize("seed", [3, 12])
def test_equal_seeds_are_equal_histories_in_every_process(seed: int) -> None:
    program = f"from tests.simulation.history import play; print(play({seed}).digest)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "77"}
    other = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert [play(seed).digest, play(seed).digest] == [other.stdout.strip()] * 2


def test_the_choices_of_a_history_play_it_again(tmp_path: Path) -> None:
    first, file = play(12), tmp_path / "tape.json"
    save(first.choices, file)
    assert play(None, load(file)).digest == first.digest


def test_a_choice_that_was_removed_moves_no_other_label() -> None:
    tape = Tape(None, {("b", 1): 2})
    assert [tape.choose("a", 9), tape.choose("b", 9), tape.choose("b", 9), tape.choose("b", 2)] == [0, 0, 2, 0]
    assert tape.chosen == {("b", 1): 2}


def test_a_choice_stays_below_its_bound() -> None:
    assert Tape(None, {("a", 0): 7}).choose("a", 3) == 2


def test_smaller_histories_leave_choices_out_or_lower_them() -> None:
    choices = {("a", 0): 3, ("b", 0): 1}
    assert all(sum(one.values()) < 4 for one in smaller(choices))
    assert {("a", 0): 1, ("b", 0): 1} in list(smaller(choices))


def outcome(choices: Choices) -> Outcome:
    """Return the outcome of a toy history, which is broken when both faults happen."""
    broken = ["2 units are lost"] if choices.get(("fault", 7)) and choices.get(("crash", 2)) else []
    return Outcome(broken, choices, Counter(), Counter(), [(61.5, "reserve_inventory", "is killed")], [], 0)


def test_a_broken_history_is_made_small() -> None:
    many: Choices = {(label, number): 3 for label in ("fault", "crash", "delay") for number in range(20)}
    assert shrink(outcome(many), 1000, outcome).choices == {("fault", 7): 1, ("crash", 2): 1}


def test_a_story_says_who_did_what_and_what_was_lost() -> None:
    told = list(story(outcome({("fault", 7): 1, ("crash", 2): 1})))
    assert told == ["   0:01:01.500  reserve_inventory: is killed", "BROKEN: 2 units are lost"]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: str(mutant.name))
def test_every_planted_fault_fits_the_source(mutant: Mutant) -> None:
    compile(mutated(mutant, (ROOT / mutant.file).read_text()), mutant.file, "exec")


def test_a_planted_fault_that_fits_nowhere_is_an_error() -> None:
    with pytest.raises(LookupError, match="stands 0 times"):
        mutated(replace(MUTANTS[0], old="no such text"), "text")


def test_an_unknown_planted_fault_is_answered_with_the_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell("no such fault") == 1
    assert "no planted fault is called 'no such fault'" in (shown := capsys.readouterr().out)
    assert all(mutant.name in shown for mutant in MUTANTS)


@pytest.mark.parametrize("name", QUICKLY_FOUND)
def test_a_planted_fault_is_found(name: str) -> None:
    command = [sys.executable, "-m", "tests.simulation.mutants", name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_no_function_of_the_manifest_is_left_out() -> None:
    left = set(manifest().functions)
    for seed in dict.fromkeys([*SEEDS_OF_RARE_FUNCTIONS, *range(400)]):
        left -= {name for where, name in play(seed).hits if where == "functions"}
        if not left:
            break
    assert left == set()


def test_coverage_names_what_was_never_hit() -> None:
    hits = Counter((port, way) for port in PORTS for way in WAYS)
    hits.update(("functions", name) for name in manifest().functions if name != "retry_saga")
    del hits["outbox", "raised"]
    marks = Counter(set(MARKS) - {"relay rescue"})
    assert never_hit(hits, marks) == ["outbox raised", "retry_saga", "relay rescue"]
    assert "| outbox | 1 | 1 | 0 | 1 |" in list(table(hits, marks))
