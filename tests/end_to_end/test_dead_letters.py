"""`scripts/dead-letters` works from a terminal, against `scripts/dev --memory`."""

import base64
import os
import subprocess
from collections.abc import Iterator

import pytest

from scripts.local.dead_letters import table, width
from scripts.local.local_http import local_http
from scripts.local.token import emulator_token
from shared.config.manifest import ROOT
from tests.end_to_end.running_shop import RunningShop, wait_until
from tests.ports import free_port

SOURCE = "project-products.product-events"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningShop]:
    running = RunningShop(tmp_path_factory.mktemp("shop") / "data", "--memory", "--no-seed", "--sign-in")
    yield running.open()
    assert running.close() == 0


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    script = str(ROOT / "scripts" / "dead-letters")
    return subprocess.run(
        [script, *arguments], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def given_up(shop: RunningShop, data: bytes, name: str) -> str:
    """Push a message as a dead-letter topic would; return the dead letter's id."""
    attributes = {
        "CloudPubSubDeadLetterSourceSubscription": SOURCE,
        "CloudPubSubDeadLetterSourceDeliveryCount": "10",
        "ce-type": name,
    }
    message = {"messageId": name, "data": base64.b64encode(data).decode(), "attributes": attributes}
    body = {"message": message, "subscription": f"projects/p/subscriptions/record-dead-letter.{SOURCE}.dead"}
    local_http().post(f"http://127.0.0.1:{shop.port + 1}/record_dead_letter", json=body, timeout=30).raise_for_status()
    letters = shop.data("{ deadLetters(limit: 1000) { id type } }")["deadLetters"]
    return next(str(letter["id"]) for letter in letters if letter["type"] == name)


def test_the_port_of_the_running_shop_is_found(shop: RunningShop) -> None:
    assert command("list", "--port", str(shop.port)).stdout == "no dead letters\n"
    unknown = command("list", "--port", "1")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "no shop runs on port 1; running:" in unknown.stderr


def test_dead_letters_are_listed_shown_retried_and_discarded_from_a_terminal(shop: RunningShop) -> None:
    assert command("list", "--url", shop.url).stdout == "no dead letters\n"
    first, second, third = (given_up(shop, b"poison", name) for name in ("お茶 🍵", "\x1b[31mred", "plain"))
    listed = command("--url", shop.url, "list", "--status", "pending", "--source", SOURCE)
    assert (listed.returncode, listed.stderr) == (0, "")
    lines = listed.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["ID", third, second, first]
    assert "\x1b" not in listed.stdout
    starts = {width(line[: line.index(word)]) for line, word in zip(lines[1:], ("10 ", "10 ", "10 "), strict=True)}
    assert len(starts) == 1
    shown = command("show", first, "--url", shop.url).stdout
    assert "お茶 🍵" in shown
    assert base64.b64encode(b"poison").decode() in shown
    assert "FAILED  after 10 attempts" in shown
    again = command("retry", first, "--url", shop.url)
    assert (again.returncode, again.stdout) == (0, f"{first} is RETRIED, published again for {SOURCE}\n")
    assert command("retry", first, "--url", shop.url).returncode == 0
    discarded = command("discard", second, "--reason", "試験", "--url", shop.url)
    assert discarded.stdout == f"{second} of {SOURCE} is DISCARDED\n"
    assert command("retry-all", "--url", shop.url).stdout == "1 published again, 0 still pending\n"
    wait_until(lambda: command("list", "--status", "RETRIED", "--url", shop.url).stdout.count("RETRIED") == 2, 60)
    assert "by admin, 試験" in command("show", second, "--url", shop.url).stdout


def test_an_error_is_printed_on_one_line(shop: RunningShop) -> None:
    letter = given_up(shop, b"poison", "refused")
    command("discard", letter, "--reason", "old", "--url", shop.url)
    for arguments, said in (
        (["retry", letter], "BUSINESS_RULE_VIOLATION: the dead letter has been discarded already"),
        (["show", "x"], "INVALID_INPUT: id must be a UUID such as "),
        (["list", "--limit", "5000"], "INVALID_INPUT: "),
        (["list", "--token", "garbage"], "UNAUTHENTICATED: "),
        (["list", "--token", emulator_token("w@example.com")], "FORBIDDEN: "),
        (["list", "--url", f"http://localhost:{free_port()}/graphql"], "does not answer"),
        (["list", "--url", "nonsense"], "does not answer"),
        (["list", "--url", f"http://localhost:{shop.port}/nowhere"], "404, which is not GraphQL"),
    ):
        answer = command("--url", shop.url, *arguments)
        assert (answer.returncode, answer.stdout) == (1, "")
        assert said in answer.stderr
        assert answer.stderr.count("\n") == 1


def test_the_token_may_come_from_the_environment(shop: RunningShop) -> None:
    refused = command("list", "--url", shop.url, SHOP_TOKEN=emulator_token("w@example.com"))
    assert (refused.returncode, "FORBIDDEN" in refused.stderr) == (1, True)
    assert command("list", "--url", shop.url, SHOP_TOKEN=emulator_token("a@example.com", role="admin")).returncode == 0


def test_a_dead_letter_is_not_discarded_without_a_reason() -> None:
    answer = command("discard", "x")
    assert answer.returncode == 2
    assert "--reason" in answer.stderr


def test_columns_are_aligned_also_with_wide_combining_and_long_text() -> None:
    lines = table([["茶", "x"], ["a", "y"], ["は\u3099", "z"], ["x" * 99, "!"]], widest=9).splitlines()
    assert {width(line[:-1]) for line in lines} == {11}
    assert lines[3].startswith("xxxxxxxx…")
