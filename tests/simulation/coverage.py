"""What a long run must have seen: each port in each way, and each rare thing at least once."""

from collections import Counter
from collections.abc import Iterator

from shared.config.manifest import manifest
from tests.simulation.follower import DASHBOARD, FOLLOWED

WAYS = ("before", "after", "raised", "unknown outcome")
PORTS = (
    "event store",
    "event log",
    "saga store",
    "outbox",
    "dead letters",
    "publisher",
    "person keys",
    "read models",
    "queries",
    "provider of payments",
    "provider of shipments",
)
MARKS = {
    "late step after compensation": "a step's command arrives when its compensation has left its mark",
    "deadline against answer": "a sweep and an answer move the same saga",
    "relay rescue": "relay_outbox publishes what a process left behind",
    "half-open breaker": "a trial call after a breaker was open",
    "AlreadyRecorded": "two requests with one key append at once",
    "ConcurrencyError": "a writer was faster",
    "page boundary of a long history": "a projection reads a full page of one stream",
    "switch during delivery": "a generation goes live while a document is being written",
    "change called twice": "a document's change function runs again",
    "redelivery during the first attempt": "a message arrives while it is being handled",
    "log held back": "a transaction hides committed events from the log's readers",
    "dead letter": "a message is given up",
    "dead letter retried": "an operator publishes it again",
    "stuck saga retried": "an operator resumes a saga that had given up",
    "restart of a saga": "an operator asks for it from a step, and it is done or refused",
    "stuck saga restarted": "an operator sends one forward again after a bad release",
    "missing saga made": "an operator starts the saga of an order without one",
    "restore of a backup": "both databases go back to an earlier moment",
    "clock that jumps": "a process's wall clock moves",
    "a saga under way meets a new definition": "a release with another table of steps",
    **{f"{one} is followed": "a client is connected by server-sent events" for one in (*FOLLOWED, DASHBOARD)},
    "token met again": "an answer had the version that an earlier one had",
    "a question of a stranger": "a caller without rights asks one of the schema's questions",
    "a command of a stranger": "a caller without rights repeats another's command",
    "person erased": "an operator destroys the key of a customer, whose orders may be under way",
    "graphql": "a reader asks the graphql function",
    "functions framework": "requests go through the framework's application",
}
"""Rare things, and what they are."""


def table(hits: Counter[tuple[str, str]], marks: Counter[str]) -> Iterator[str]:
    """Yield the lines of the coverage table, in Markdown."""
    yield f"| port | {' | '.join(WAYS)} |"
    yield f"|---|{'---:|' * len(WAYS)}"
    for port in PORTS:
        yield f"| {port} | {' | '.join(f'{hits[port, way]:,}' for way in WAYS)} |"
    yield ""
    yield "| function | calls |"
    yield "|---|---:|"
    for function in manifest().functions:
        yield f"| {function} | {hits['functions', function]:,} |"
    yield ""
    yield "| rare thing | times |"
    yield "|---|---:|"
    for mark in MARKS:
        yield f"| {mark} | {marks[mark]:,} |"


def never_hit(hits: Counter[tuple[str, str]], marks: Counter[str]) -> list[str]:
    ports = [f"{port} {way}" for port in PORTS for way in WAYS if not hits[port, way]]
    functions = [function for function in manifest().functions if not hits["functions", function]]
    return [*ports, *functions, *(mark for mark in MARKS if not marks[mark])]
