"""List, retry and discard messages that could not be delivered, through GraphQL."""

import argparse
import json
import os
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

import httpx

from scripts.local import running
from scripts.local.token import ADMIN_EMAIL, emulator_token

_ENTRY = "kind at by attempts reason"
_LETTER = f"""id source topic type subject status attempts firstError error traceparent correlationId recordedAt updatedAt
    attributes data history {{ {_ENTRY} }}"""
LIST = """query ($status: DeadLetterStatus, $source: String, $limit: Int, $offset: Int) {
    deadLetters(status: $status, source: $source, limit: $limit, offset: $offset) {
        id status source type orderId attempts recordedAt firstError error
    }
}"""
SHOW = f"query ($id: ID!) {{ deadLetter(id: $id) {{ {_LETTER} }} }}"
RETRY = "mutation ($id: ID!) { retryDeadLetter(id: $id) { id source status } }"
RETRY_ALL = """mutation ($source: String, $limit: Int) {
    retryDeadLetters(source: $source, limit: $limit) { retried left }
}"""
DISCARD_ALL = """mutation ($reason: String!, $source: String, $limit: Int) {
    discardDeadLetters(reason: $reason, source: $source, limit: $limit) { discarded left }
}"""
DISCARD = "mutation ($id: ID!, $reason: String!) { discardDeadLetter(id: $id, reason: $reason) { id source status } }"

Fields = dict[str, Any]


class Refused(Exception):
    """The request failed; the message says why in one line for the user."""


def ask(chosen: argparse.Namespace, query: str, *names: str) -> Any:
    """Return the answer's only field. `names`: the options that the query takes as variables. Raise
    Refused."""
    body = {"query": query, "variables": {name: getattr(chosen, name) for name in names}}
    token = chosen.token or os.environ.get("SHOP_TOKEN") or emulator_token(ADMIN_EMAIL, role="admin")
    try:
        response = httpx.post(chosen.url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=60)
        answer = response.json()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Refused(f"{chosen.url} does not answer ({error or type(error).__name__}); is the shop open?") from error
    except ValueError as error:
        raise Refused(f"{chosen.url} answered {response.status_code}, which is not GraphQL") from error
    if not isinstance(answer, dict) or answer.get("errors") or not answer.get("data"):
        raise Refused(_said(answer))
    (field,) = answer["data"].values()
    return field


def _said(answer: Any) -> str:
    errors = answer.get("errors") if isinstance(answer, dict) else None
    if not errors:
        return "the answer is not GraphQL"
    first = errors[0]
    return plain(f"{first.get('extensions', {}).get('code', 'ERROR')}: {first.get('message', '')}")


def show_list(chosen: argparse.Namespace) -> None:
    letters = ask(chosen, LIST, "status", "source", "limit", "offset")
    if not letters:
        print("no dead letters")
        return
    head = ("ID", "STATUS", "SOURCE", "TYPE", "ORDER", "ATTEMPTS", "RECORDED", "FIRST ERROR", "LAST ERROR")
    keys = ("id", "status", "source", "type", "orderId", "attempts", "recordedAt", "firstError", "error")
    rows = [[plain(one[key]) for key in keys] for one in letters]
    print(table([head, *rows], widest=60))


def show(chosen: argparse.Namespace) -> None:
    letter = ask(chosen, SHOW, "id")
    history, attributes, data = (letter.pop(key) for key in ("history", "attributes", "data"))
    print(table([[f"{key}:", plain(value)] for key, value in letter.items()], widest=1000))
    print("attributes:")
    print(table([[f"  {plain(key)}:", plain(value)] for key, value in attributes.items()], widest=1000))
    print(f"data (base64): {plain(data)}")
    print("history:")
    for entry in history:
        about = [f"by {entry['by']}"] if entry["by"] else []
        about += [f"after {entry['attempts']} attempts"] if entry["attempts"] else []
        about += [entry["reason"]] if entry["reason"] else []
        print(f"  {entry['at']}  {entry['kind']}  {plain(', '.join(about))}")


def retry(chosen: argparse.Namespace) -> None:
    letter = ask(chosen, RETRY, "id")
    print(f"{letter['id']} is {letter['status']}, published again for {plain(letter['source'])}")


def retry_all(chosen: argparse.Namespace) -> None:
    done = ask(chosen, RETRY_ALL, "source", "limit")
    print(f"{done['retried']} published again, {done['left']} still pending")


def discard(chosen: argparse.Namespace) -> None:
    letter = ask(chosen, DISCARD, "id", "reason")
    print(f"{letter['id']} of {plain(letter['source'])} is {letter['status']}")


def discard_all(chosen: argparse.Namespace) -> None:
    done = ask(chosen, DISCARD_ALL, "reason", "source", "limit")
    print(f"{done['discarded']} discarded, {done['left']} still pending")


def plain(value: Any) -> str:
    """Return the value on one line, without characters that a terminal would interpret."""
    text = "-" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else " " for c in text)


def table(rows: Sequence[Sequence[str]], widest: int) -> str:
    """Return the rows in aligned columns; cells wider than `widest` are cut."""
    cut = [[_cut(cell, widest) for cell in row] for row in rows]
    widths = [max(map(width, column)) for column in zip(*cut, strict=True)]
    lines = ("  ".join(c + " " * (w - width(c)) for c, w in zip(row, widths, strict=True)) for row in cut)
    return "\n".join(line.rstrip() for line in lines)


def width(text: str) -> int:
    """Return the text's width in a terminal's cells: 茶 takes two."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _cut(text: str, widest: int) -> str:
    if width(text) <= widest:
        return text
    while width(text) >= widest:
        text = text[:-1]
    return f"{text}…"


def arguments() -> argparse.Namespace:
    where = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    where.add_argument("--url", help="the shop's GraphQL address (that of the running scripts/dev)")
    where.add_argument("--port", type=int, metavar="N", help="of the running scripts/dev, if several run")
    where.add_argument("--token", help="an admin's ID token (SHOP_TOKEN, or one that scripts/dev accepts)")
    parser = argparse.ArgumentParser(prog="scripts/dead-letters", description=__doc__, parents=[where])
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Any, about: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about, parents=[where])
        added.set_defaults(run=run)
        return added

    listed = command("list", show_list, "list dead letters, newest first")
    listed.add_argument("--status", type=str.upper, choices=["PENDING", "RETRIED", "DISCARDED"])
    listed.add_argument("--source", help="only those of one subscription, for example project-orders.order-events")
    listed.add_argument("--limit", type=int, default=50)
    listed.add_argument("--offset", type=int, default=0)
    command("show", show, "show one dead letter with all its details").add_argument("id")
    command("retry", retry, "publish one again, for the consumer that failed").add_argument("id")
    retried = command("retry-all", retry_all, "publish the oldest pending dead letters again")
    retried.add_argument("--source", help="only those of one subscription")
    retried.add_argument("--limit", type=int, default=100, help="at most this many (100)")
    discarded = command("discard", discard, "discard one for good")
    discarded.add_argument("id")
    discarded.add_argument("--reason", required=True, metavar="TEXT", help="why it is not needed")
    all_discarded = command("discard-all", discard_all, "discard the oldest pending dead letters for good")
    all_discarded.add_argument("--source", help="only those of one subscription")
    all_discarded.add_argument("--limit", type=int, default=100, help="at most this many (100)")
    all_discarded.add_argument("--reason", required=True, metavar="TEXT", help="why they are not needed")
    return parser.parse_args(namespace=argparse.Namespace(url=None, port=None, token=None))


def main() -> int:
    chosen = arguments()
    chosen.url = chosen.url or running.found(chosen.port).url
    try:
        chosen.run(chosen)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
