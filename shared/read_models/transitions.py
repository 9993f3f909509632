"""What an admin may do with the generations of a read model and its projection, and what a
finished rebuild does.

Each function returns the generations afterwards, or raises Rejected; doing it twice is harmless.
"""

from dataclasses import replace
from datetime import timedelta

from shared.domain.errors import Rejected
from shared.read_models.comparison import Comparison
from shared.read_models.generations import Generations
from shared.read_models.stop import Stop
from shared.resilience import clock


def rebuilt(now: Generations, limit: int | None = None, switch: bool | None = None) -> Generations:
    """Begin to fill a new generation. While one is being filled, change only its limit and whether
    it goes live by itself; None leaves them."""
    if now.state == "BUILDING":
        return replace(now, limit=limit or now.limit, switch=now.switch if switch is None else switch)
    if now.state == "KEPT":
        raise Rejected(f"generation {now.other} is still kept and written; drop it first", ("name",))
    if now.state == "CANCELLED":
        raise Rejected(f"generation {now.other} is cancelled, but not deleted yet; drop it first", ("name",))
    if now.state == "DROPPED":
        raise Rejected(f"generation {now.other} is still being deleted; try again in a minute", ("name",))
    return replace(now.beside(now.newest + 1, "BUILDING"), unread=True, limit=limit, switch=bool(switch))


def cancelled(now: Generations) -> Generations:
    """Stop filling the new generation, whose documents stay until it is dropped. Does nothing when
    none is being filled. Raise Rejected when it is complete."""
    if now.state == "KEPT":
        raise Rejected(f"the rebuild of generation {now.other} is complete; drop the generation instead", ("name",))
    ended = replace(now, state="CANCELLED", since=clock.now(), comparison=None)
    return ended if now.state == "BUILDING" else now


def switched(now: Generations, to: int, force: bool = False) -> Generations:
    """Make another generation live. Does nothing when it is.

    Unless `force`, it must be complete, and one that has never been live must have been compared
    with the events and found equal. Between two that have both been live, the way is always open.
    """
    if to == now.live:
        return now
    if to != now.other or now.state not in ("BUILDING", "KEPT"):
        raise Rejected(f"there is no generation {to} to switch to", ("to",))
    if not force and (why := _incomplete(now) if now.state == "BUILDING" else _different(now)):
        raise Rejected(f"{why}. To read it all the same, pass force: true", ("to",))
    kept = replace(now, live=to, other=now.live, state="KEPT", since=clock.now(), wanted=(), late=(), places={})
    seen = now.comparison
    turned = replace(seen, live=seen.other, other=seen.live, found_in=None) if seen else None
    return replace(kept, unread=False, comparison=turned)


def _incomplete(now: Generations) -> str:
    if now.is_comparing:
        return f"generation {now.other} is complete, but still being compared with the events"
    ends = "and goes live by itself when it is complete" if now.switch else "and is compared when it is complete"
    streams = ", ".join(f"{one.stream} ({one.error or 'not delivered yet'})" for one in now.incomplete)
    lacks = f"{now.behind} of {now.checked} checked streams lack events: {streams or 'none'}"
    others = f"events of streams that begin with no known event: {now.missing_events}"
    return f"generation {now.other} is still being built, {ends}. {lacks}; {others}"


def _different(now: Generations) -> str | None:
    """Return why a complete generation should not go live, None when it may."""
    found = now.comparison
    if not now.unread or (found and found.is_equal):
        return None
    again = f"compareProjection compares generation {now.other} with the events"
    if found is None:
        return f"generation {now.other} has not been compared with the events; {again}"
    if found.ended is None:
        return f"generation {now.other} is being compared with the events; try again in a minute"
    lacking = f"{found.not_compared} partitions could not be compared" if found.not_compared else ""
    differs = f"{found.other.different} documents are not what the events make" if found.other.different else ""
    many = "" if found.totals else "there are too many totals to compare"
    return f"generation {now.other}: {'; '.join(filter(None, (differs, lacking, many)))}; {again} again"


def compared(now: Generations) -> Generations:
    """Begin to compare both generations with the events. Does nothing while that is under way, or
    comes at the end of a rebuild anyway."""
    if now.state == "BUILDING" or (now.state == "KEPT" and now.is_comparing):
        return now
    if now.state != "KEPT":
        raise Rejected("there is one generation only; a comparison needs two, so rebuild first", ("name",))
    return comparing(now)


def comparing(now: Generations) -> Generations:
    """Return the generations at the beginning of their next comparison."""
    return replace(now, comparison=Comparison(1 + (now.comparison.run if now.comparison else 0), clock.now()))


def after_comparison(now: Generations, found: Comparison) -> Generations:
    """Return the generations after a comparison; one that ends a rebuild makes the new generation
    live if that was wanted and nothing differs."""
    if now.state != "BUILDING":
        return replace(now, comparison=found)
    kept = replace(now, state="KEPT", since=clock.now(), comparison=found, wanted=(), late=(), places={})
    return switched(kept, now.other) if now.switch and now.other and found.is_equal else kept


def dropped(now: Generations) -> Generations:
    """Begin to delete the other generation, complete or not. Does nothing when there is none."""
    if now.other is None or now.state == "DROPPED":
        return now
    return now.beside(now.other, "DROPPED")


def stopped(now: Generations, by: str, minutes: int) -> Generations:
    """Stop the projection from now on, in every process within `Pace.known_seconds`."""
    begins = clock.now()
    return replace(now, last_stop=Stop(by, begins, begins + timedelta(minutes=minutes)))


def started(now: Generations) -> Generations:
    """End a stop. Does nothing when there is none."""
    return replace(now, last_stop=replace(now.stop, until=clock.now())) if now.stop else now
