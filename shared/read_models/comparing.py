"""Compare both generations of a read model with what the events make, partition by partition.

Workers compare the documents (compare.py); this adds up what they found. Totals are compared here,
with the sum of what the documents of all partitions add to them. Deliveries go on meanwhile, so
what differs is compared again some times: what only was late does not differ then.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from shared.event_store.protocol import EventStore
from shared.read_models.compare import COMPARE, SHOWN, difference_of, hexadecimal
from shared.read_models.comparison import Comparison, Side
from shared.read_models.documents import Totals, sources_of
from shared.read_models.generations import Generations, change_generations, stored_in
from shared.read_models.partitions import QUERY_SECONDS, STREAMS, Partition
from shared.read_models.protocol import Fields, Find
from shared.read_models.sender import POLL_SECONDS, Sender
from shared.read_models.transitions import after_comparison
from shared.resilience import clock
from shared.resilience.calls import awaited

_AT_ONCE = 8  # partitions under way: a comparison must not hold up deliveries
_ROUNDS, _AGAIN = 3, 50  # times that what differs is compared again, and partitions of one time
_MAX_TOTALS, _PAGE = 50_000, 500
_TOTALS = 9_999_999
"""The number of the partition that holds the differing totals."""

Amounts = Mapping[str, Mapping[str, int]]
"""Numbers by document and field."""


@dataclass(frozen=True)
class Comparing:
    """The comparison of one read model's generations."""

    sender: Sender
    store: EventStore

    def advance(self, now: Generations) -> int:
        """Send the next partitions, wait for workers, or end the comparison; return how many
        streams were sent."""
        found = now.comparison
        assert found is not None
        if found.found_in is None:
            self._save(now, replace(now, comparison=replace(found, found_in=self._extents(now))))
            return 0
        room = _AT_ONCE - self.sender.under_way(now)
        streams, places = self.sender.next_streams(found.places, STREAMS * max(1, room))
        if room > 0 and streams:
            last = [seen.event for seen in self.sender.log.last_of(streams, self.store.end())]
            cut = self.sender.cut(found.run, found.partitions, last)
            self.sender.send(now, COMPARE, cut)
            sent = replace(found, places=places, partitions=found.partitions + len(cut))
            self._save(now, replace(now, comparison=sent))
        elif streams or room < _AT_ONCE:
            clock.sleep(POLL_SECONDS)
        else:
            self._conclude(now, found)
        return len(streams) if room > 0 else 0

    def _conclude(self, now: Generations, found: Comparison) -> None:
        """End the comparison, or compare again what differs."""
        result = _Sum(self._totals())
        for partition in self.sender.partitions(now).of(self.sender.queries, found.run):
            result.add(partition)
        differing = {side: self._differing_totals(now, side, result) for side in result.shares}
        differs = result.differs or any(differing.values())
        again = self._to_repeat(now, found, differing) if differs and found.rounds < _ROUNDS else []
        if again and len(again) <= _AGAIN:
            clock.sleep(self.sender.pace.known_seconds)
            self.sender.send_again(now, COMPARE, again)
            self._save(now, replace(now, comparison=replace(found, rounds=found.rounds + 1)))
            return
        self._note_totals(now, found, differing)
        assert found.found_in is not None
        live, other = (
            result.side(side, len(differing[side]), before)
            for side, before in zip(("live", "other"), found.found_in, strict=True)
        )
        ended = replace(found, ended=clock.now(), streams=result.streams, fold=result.side("fold"), live=live)
        ended = replace(ended, other=other, not_compared=result.unfinished, totals=not result.too_many)
        self._save(now, after_comparison(now, ended))

    def _totals(self) -> Totals[Any] | None:
        return next((source.totals for source in sources_of(self.sender.read_model) if source.totals), None)

    def _to_repeat(self, now: Generations, found: Comparison, differing: Mapping[str, Amounts]) -> list[Partition]:
        """Return the partitions that differ, that have no result, or that add to differing totals,
        a few more than are compared again."""
        repeated = list[Partition]()
        for one in self.sender.partitions(now).of(self.sender.queries, found.run):
            if one.number == _TOTALS:
                continue
            shares = one.result.get("shares") or {}
            adds = any(key in keys for side, keys in differing.items() for key in shares.get(side, ()))
            if not one.ended or one.stored()["differing"] or adds:
                repeated.append(one)
            if len(repeated) > _AGAIN:
                break
        return repeated

    def _differing_totals(self, now: Generations, side: str, result: "_Sum") -> dict[str, Any]:
        """Return the totals that are not the sum of the shares: both numbers, by document."""
        totals = self._totals()
        if totals is None or result.too_many:
            return {}
        wanted = result.shares[side]
        stored = self._stored_totals(stored_in(totals.collection, _number(now, side)), wanted)
        if stored is None:
            result.too_many = True
            return {}
        return {
            key: (expected, found)
            for key in {*wanted, *stored}
            if (expected := _amounts(wanted.get(key, {}), totals)) != (found := _amounts(stored.get(key, {}), totals))
        }

    def _stored_totals(self, collection: str, wanted: Iterable[str]) -> dict[str, Fields] | None:
        """Return the documents of the totals, None when there are too many to compare."""
        found, last = dict[str, Fields](), None
        while len(found) <= _MAX_TOTALS:
            page = awaited(self.sender.queries.find(Find(collection, "id", limit=_PAGE, after=last)), QUERY_SECONDS)
            found |= {fields["id"]: fields for fields in page}
            if len(page) < _PAGE:
                break
            last = page[-1]
        if len(found) > _MAX_TOTALS:
            return None
        without_id = [key for key in wanted if key not in found]  # only added to so far
        for first in range(0, len(without_id), _PAGE):
            keys = without_id[first : first + _PAGE]
            found |= awaited(self.sender.queries.get_many(collection, keys), QUERY_SECONDS)
        return found

    def _note_totals(self, now: Generations, found: Comparison, differing: Mapping[str, Mapping[str, Any]]) -> None:
        """Store the differing totals as one more partition."""
        totals = self._totals()
        if totals is None or not any(differing.values()):
            return
        shown = list[Fields]()
        for side, keys in differing.items():
            for key, (expected, stored) in sorted(keys.items())[:SHOWN]:
                names = [name for name in totals.fields if expected[name] != stored[name]]
                shown.append(difference_of(side, totals.collection, key, names, expected, stored))
        counts = {side: {"different": len(keys)} for side, keys in differing.items()}
        partition = Partition(found.run, _TOTALS, (), began=clock.now()).finished({**counts, "differences": shown})
        self.sender.partitions(now).replace(partition)

    def _extents(self, now: Generations) -> tuple[int, int]:
        live, other = (
            sum(
                awaited(self.sender.queries.extent(stored_in(source.name, _number(now, side))), QUERY_SECONDS).documents
                for source in sources_of(self.sender.read_model)
            )
            for side in ("live", "other")
        )
        return live, other

    def _save(self, before: Generations, after: Generations) -> None:
        """Store the progress, unless another run or an admin has changed it meanwhile."""
        change = (self.sender.models, self.sender.read_model)
        change_generations(*change, lambda now: after if now == before else None)


def _number(now: Generations, side: str) -> int:
    assert now.other is not None
    return now.live if side == "live" else now.other


def _amounts(document: Mapping[str, Any], totals: Totals[Any]) -> dict[str, int]:
    return {name: document.get(name, 0) for name in totals.fields}


class _Sum:
    """The sum of what the partitions found."""

    def __init__(self, totals: Totals[Any] | None) -> None:
        self.streams, self.unfinished, self.too_many = 0, 0, False
        self.shares: dict[str, dict[str, Counter[str]]] = {"live": {}, "other": {}}
        self._counts = {side: Counter[str]() for side in ("fold", "live", "other")}
        self._has_totals = totals is not None

    def add(self, partition: Partition) -> None:
        if partition.number == _TOTALS:
            return
        self.streams += len(partition.streams)
        if not partition.ended:
            self.unfinished += 1
            return
        for side, counts in self._counts.items():
            found = partition.result[side]
            counts.update({name: value for name, value in found.items() if name != "digest"})
            counts["digest"] += int(found["digest"], 16)
        if self._has_totals:
            self._add_shares(partition.result["shares"])

    def _add_shares(self, shares: Mapping[str, Amounts] | None) -> None:
        for side, keys in (shares or {}).items():
            for key, amounts in keys.items():
                self.shares[side].setdefault(key, Counter()).update(amounts)
        if shares is None or max(map(len, self.shares.values())) > _MAX_TOTALS:
            self.too_many = True
            self.shares = {"live": {}, "other": {}}

    @property
    def differs(self) -> bool:
        """Return whether a partition differs or has no result."""
        return bool(self.unfinished or any(counts["different"] for counts in self._counts.values()))

    def side(self, name: str, totals: int = 0, before: int = 0) -> Side:
        """Return what a side adds up to. `totals`: how many of its totals differ. `before`: its
        documents when the comparison began; those that no partition has belong to no stream."""
        counts = self._counts[name]
        unknown = max(0, before - counts["documents"]) if not self.unfinished else 0
        different = counts["different"] + totals + unknown
        return Side(counts["documents"], counts["events"], hexadecimal(counts["digest"]), different, unknown)
