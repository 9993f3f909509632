"""The decorators of functions that Pub/Sub or a schedule calls: decode, hand over, acknowledge.

Success is 204, which acknowledges; any error makes Pub/Sub try again later and at last give the message to the
dead-letter topic.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from http import HTTPStatus
from typing import Any, TypeVar

import flask
import structlog

from shared.dead_letters.protocol import describe_error, fingerprint
from shared.domain.errors import Invalid
from shared.event_store.aggregates import announced
from shared.messaging.envelope import TYPE, Message, Push, command_from, decode_message, decode_push
from shared.monitoring.recorder import watched
from shared.observability.context import SpanKind, annotate, caused_by, fresh, handling
from shared.read_models.documents import Collection, sources_of
from shared.read_models.project import Projection, project
from shared.resilience import clock
from shared.resilience.calls import deadline
from shared.runtime.engines import Engines, engines
from shared.runtime.http import (
    DELIVERIES,
    RUNS,
    HttpFunction,
    answering,
    body_of,
    http_function,
    json_response,
    measured,
)

Command = TypeVar("Command")
Document = TypeVar("Document")

_log = structlog.get_logger()

_NOTING_SECONDS = 1.0
_noting = clock.executor(2, "noting")

_PAGE = 500
"""Events of a history that are in memory at one time."""

_MAX_PUSH = 20_000_000
"""Bytes: the largest Pub/Sub message, in base64, with its attributes."""


def raw_subscriber(handle: Callable[[Push, Engines], None]) -> HttpFunction:
    """A function that takes whatever is pushed to it, decodable or not."""

    @http_function
    @wraps(handle)
    def function(request: flask.Request) -> flask.Response:
        def acknowledge() -> flask.Response:
            with (
                measured(DELIVERIES, handle.__name__) as delivery,
                deadline(engines().settings.handler_timeout_seconds),
            ):
                push = decode_push(body_of(request, _MAX_PUSH))
                delivery.label = push.subscription_id
                annotate(subscription=push.subscription_id)
                handle(push, engines())
            return flask.Response(status=HTTPStatus.NO_CONTENT)

        return answering(acknowledge)

    return function


def subscriber(handle: Callable[[Message, Engines], None]) -> HttpFunction:
    """A function that takes the shop's own messages, of those published again only the ones that are for it."""

    @wraps(handle)
    def decoded(push: Push, engines: Engines) -> None:
        if push.is_for_another:
            return
        with _failures_noted(push, engines):
            message = decode_message(push)
            annotate(message=message.type, subject=message.subject)
            context = caused_by(message.context, str(message.id))
            asked = {"messageId": push.message.message_id, "type": message.type}
            with (
                watched(engines.recorder, "delivery", push.subscription_id, context, asked) as watch,
                handling(context, f"process {message.topic}", SpanKind.CONSUMER, _about(push, message.topic)),
            ):
                watch.subject = message.subject
                handle(message, engines)

    return raw_subscriber(decoded)


def _about(push: Push, topic: str) -> dict[str, str]:
    return {
        "messaging.system": "gcp_pubsub",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": topic,
        "messaging.message.id": push.message.message_id,
        "messaging.destination.subscription.name": push.subscription_id,
    }


@contextmanager
def _failures_noted(push: Push, engines: Engines) -> Iterator[None]:
    """Keep why a delivery fails for record_dead_letter, which isn't told by Pub/Sub."""
    try:
        yield
    except Exception as error:
        _note(push, engines, describe_error(error))
        raise


def _note(push: Push, engines: Engines, why: str) -> None:
    """As far as that can be done within a second; the answer doesn't wait for it any longer, nor depend on it."""

    def note() -> None:
        with deadline(_NOTING_SECONDS):
            engines.dead_letters.note_failure(push.subscription_id, fingerprint(push.message), why)

    try:
        noting = _noting.submit(note)  # in a thread, where the deadline that has perhaps just passed doesn't count
        try:
            noting.result(_NOTING_SECONDS)
        finally:
            noting.cancel()
    except Exception as error:
        _log.warning("could not note why a delivery failed", failure=why, reason=repr(error))


def saga_step(kind: type[Command]) -> Callable[[Callable[[Command, Engines], object]], HttpFunction]:
    """A function that carries out one command of a saga. It may be called again with the same command at any time."""

    def decorate(handle: Callable[[Command, Engines], object]) -> HttpFunction:
        @wraps(handle)
        def step(message: Message, engines: Engines) -> None:
            handle(command_from(message, kind), engines)

        return subscriber(step)

    return decorate


def projection(
    collection: Collection[Document],
    begin: Callable[[Any], Document],
    also: Sequence[Projection[Any]] = (),
) -> Callable[[Callable[[Document, Any], Document]], HttpFunction]:
    """Make a function that keeps a read model, from a pure function `(document, event) -> document`.

    `begin` makes the document from a stream's first event. `also`: the projections of the other collections
    that make up the read model. Raise LookupError unless all of them are given.
    """

    def decorate(apply: Callable[[Document, Any], Document]) -> HttpFunction:
        projections = (Projection(collection, begin, apply), *also)
        given, declared = [one.collection for one in projections], sources_of(collection.name)
        if given != declared:
            raise LookupError(f"{apply.__name__} must keep {_names(declared)}; it keeps {_names(given)}")
        by_type = {kind.__name__: one for one in projections for kind in one.collection.aggregate.event_types}

        @wraps(apply)
        def update(message: Message, engines: Engines) -> None:
            event = announced(message)
            if event.type not in by_type:
                raise Invalid(f"{event.type!r:.100} is no event for {apply.__name__}", TYPE)
            project(engines.read_models, by_type[event.type], event, _missing(engines))

        return subscriber(update)

    return decorate


def _names(collections: Sequence[Collection[Any]]) -> str:
    return ", ".join(collection.name for collection in collections)


def _missing(engines: Engines) -> Callable[[str, int], Sequence[Any]]:
    return lambda stream, after: [entry.event for entry in engines.event_store.read_stream(stream, after, _PAGE)]


def scheduled(handle: Callable[[Engines], int]) -> HttpFunction:
    """A function that Cloud Scheduler calls; `handle` returns how many things it dealt with."""

    @http_function
    @wraps(handle)
    def function(request: flask.Request) -> flask.Response:
        return ran(handle.__name__, handle)

    return function


def ran(name: str, handle: Callable[[Engines], int]) -> flask.Response:
    """One run of the function called `name`."""

    def run() -> flask.Response:
        with (
            measured(RUNS, name),
            handling(fresh(), name, SpanKind.SERVER, {}),
            deadline(engines().settings.handler_timeout_seconds),
        ):
            return json_response(f'{{"done": {handle(engines())}}}')

    return answering(run)
