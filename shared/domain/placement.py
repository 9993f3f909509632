"""What belongs to what: the rules across aggregates, which the event store enforces inside the append.

Every category and product on sale has a place in one tree. A place exists only below a place that exists, siblings
have different names, nothing is removed while something lies below it, and nothing lies below itself.
"""

import unicodedata
from dataclasses import dataclass

from shared.domain.category import CATEGORY
from shared.domain.events import (
    CategoryCreated,
    CategoryDeleted,
    CategoryUpdated,
    Event,
    ProductCreated,
    ProductDeleted,
    ProductUpdated,
)
from shared.domain.product import PRODUCT


@dataclass(frozen=True)
class Place:
    """Put `stream` below `parent` (None: at the top). `name`: unique among siblings; None for what may share names."""

    stream: str
    parent: str | None
    name: str | None


@dataclass(frozen=True)
class Remove:
    stream: str


Placement = Place | Remove


def placement(event: Event) -> Placement | None:
    """The place that an event takes or gives up, if any. Names are compared without case or width: "TEA" is "ｔｅａ"."""
    match event:
        case CategoryCreated() | CategoryUpdated():
            parent = CATEGORY.stream(event.parent_id) if event.parent_id else None
            return Place(CATEGORY.stream_of(event), parent, comparable(event.name))
        case ProductCreated() | ProductUpdated():
            return Place(PRODUCT.stream_of(event), CATEGORY.stream(event.category_id), None)
        case CategoryDeleted():
            return Remove(CATEGORY.stream_of(event))
        case ProductDeleted():
            return Remove(PRODUCT.stream_of(event))
        case _:
            return None


def comparable(text: str) -> str:
    """Normalised again after folding, which may take characters apart."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
