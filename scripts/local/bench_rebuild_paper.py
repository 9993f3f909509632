"""Compute from the measured rates what rebuilding a million orders takes and costs in the cloud."""

from collections.abc import Sequence
from dataclasses import dataclass

from scripts.local.cost import data
from shared.config.manifest import manifest
from shared.read_models.partitions import STREAMS

ORDERS, INSTANCES = 1_000_000, (1, 10, 100)
FIRST_RATE, GROWTH, EVERY_SECONDS = 500, 1.5, 300
"""Firestore's advice for a new collection: begin with 500 writes a second, and add a half every
five minutes."""

MOST_RATE = 10_000
"""Writes per second that one Firestore database takes."""


@dataclass(frozen=True)
class Paper:
    """The rebuild of all orders on some instances. `rate`: documents per second, but for the limits
    of Firestore. `bound`: what sets the pace most of the time."""

    instances: int
    rate: float
    seconds: float
    bound: str
    dollars: float


def on_paper(per_worker: float, instances: Sequence[int] = INSTANCES) -> list[Paper]:
    """`per_worker`: the measured documents per second of one worker, which has one processor as an
    instance has."""
    return [_paper(per_worker, number) for number in instances]


def _paper(per_worker: float, instances: int) -> Paper:
    rate = per_worker * instances
    seconds = seconds_under_ramp(ORDERS, rate)
    free = ORDERS / rate
    bound = "instances" if seconds < 1.2 * free else "Firestore's ramp"
    return Paper(instances, rate, seconds, bound, _cost(instances, seconds))


def seconds_under_ramp(documents: float, rate: float) -> float:
    """Return how long so many documents take at a rate that the ramp and the database limit."""
    passed, allowed = 0.0, float(FIRST_RATE)
    while True:
        now = min(rate, allowed, MOST_RATE)
        if documents <= now * EVERY_SECONDS:
            return passed + documents / now
        documents -= now * EVERY_SECONDS
        passed, allowed = passed + EVERY_SECONDS, allowed * GROWTH


def _cost(instances: int, seconds: float) -> float:
    """Return US dollars, without the free amounts: each order is written once, and read before and
    after by the passes and, in both generations, by the comparison. Workers are billed all the
    time."""
    function, prices = manifest().functions["project_orders"], data()["prices"]
    partitions = 2 * ORDERS / STREAMS  # filled, and compared
    used = {
        "firestore_writes": ORDERS + 3 * partitions,
        "firestore_reads": 4 * ORDERS + 3 * partitions,
        "run_cpu_seconds": instances * seconds * function.cpu,
        "run_memory_seconds": instances * seconds * 0.5,
        "run_requests": partitions,
    }
    return sum(amount * float(prices[name]["price"]) for name, amount in used.items())
