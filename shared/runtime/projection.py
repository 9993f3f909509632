"""The decorator that makes a function of a projection."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

from shared.domain.errors import Invalid
from shared.domain.faults import shown
from shared.event_store.aggregates import announced
from shared.messaging.envelope import SUBJECT, Message
from shared.read_models.compare import COMPARE, Stores, compare
from shared.read_models.documents import Collection, sources_of
from shared.read_models.fill import FILL, fill
from shared.read_models.project import Projection, project
from shared.runtime import http
from shared.runtime.engines import Engines
from shared.runtime.push_functions import message_subscriber

Document = TypeVar("Document")


def projection(
    collection: Collection[Document],
    begin: Callable[..., Document],
    also: Sequence[Projection[Any]] = (),
    recorded_at: bool = False,
) -> Callable[[Callable[..., Document]], http.HttpFunction]:
    """Make a function that keeps a read model, from a pure function `(document, event) ->
    document`.

    `begin` makes the document from a stream's first event. `recorded_at`: both take the time of the
    event as one more argument. `also`: the projections of the other collections that make up the
    read model. Raise LookupError unless all of them are given.
    """

    def decorate(apply: Callable[..., Document]) -> http.HttpFunction:
        projections = (Projection(collection, begin, apply, recorded_at), *also)
        given, declared = [one.collection for one in projections], sources_of(collection.name)
        if given != declared:
            raise LookupError(f"{apply.__name__} must keep {_names(declared)}; it keeps {_names(given)}")
        by_aggregate = {one.collection.aggregate.name: one for one in projections}

        @wraps(apply)
        def update(message: Message, engines: Engines) -> None:
            engines.read_models.refuse_stopped(collection.read_model)
            if message.type == FILL:
                fill(engines.read_models, by_aggregate, message, engines.event_store)
                return
            if message.type == COMPARE:
                stores = Stores(engines.read_models, engines.queries.queries, engines.event_store, engines.pace)
                compare(stores, by_aggregate, message)
                return
            event = announced(message)
            chosen = by_aggregate.get(event.stream.partition("-")[0])
            if chosen is None:
                raise Invalid(f"{shown(event.stream)} is no stream of {', '.join(by_aggregate)}", SUBJECT)
            project(engines.read_models, chosen, event, engines.event_store)

        return message_subscriber(update)

    return decorate


def _names(collections: Sequence[Collection[Any]]) -> str:
    return ", ".join(collection.name for collection in collections)
