"""The decorators that make functions which Pub/Sub or Cloud Scheduler calls: decode, call the
handler, acknowledge.

Pub/Sub takes the status 204 as an acknowledgement. After any error it delivers the message again
later, and after the last attempt it moves the message to the dead-letter topic.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, wraps
from http import HTTPStatus
from typing import Any, TypeVar

import flask
import structlog

from shared.config.manifest import manifest
from shared.dead_letters.protocol import describe_error, fingerprint
from shared.domain.errors import Forbidden, Invalid
from shared.domain.faults import shown
from shared.event_store.aggregates import announced
from shared.messaging.envelope import SUBJECT, Message, Push, command_from, decode_message, decode_push, postponed
from shared.monitoring.recorder import watched
from shared.observability.context import SpanKind, annotate, caused_by, fresh, handling
from shared.read_models.compare import COMPARE, Stores, compare
from shared.read_models.documents import Collection, sources_of
from shared.read_models.fill import FILL, fill
from shared.read_models.project import Projection, project
from shared.resilience import clock
from shared.resilience.breakers import BreakerOpen
from shared.resilience.calls import NotCalled, deadline
from shared.runtime import http
from shared.runtime.engines import Engines, engines

Command = TypeVar("Command")
Document = TypeVar("Document")

_log = structlog.get_logger()

_NOTING_SECONDS = 1.0
_MAX_PUSH = 20_000_000  # bytes: the largest Pub/Sub message, in base64, with its attributes


def push_subscriber(handle: Callable[[Push, Engines], None]) -> http.HttpFunction:
    """Make a function that gets every push of its subscriptions, whether or not its message is one
    of the shop's own."""

    @http.http_function
    @wraps(handle)
    def function(request: flask.Request) -> flask.Response:
        with (
            http.measured(http.DELIVERIES, handle.__name__) as delivery,
            deadline(engines().settings.handler_timeout_seconds),
        ):
            push = decode_push(http.body_of(request, _MAX_PUSH))
            if push.subscription_id not in _subscriptions_of(handle.__name__):
                raise Forbidden(f"the subscription {shown(push.subscription_id)} does not push to {handle.__name__}")
            delivery.label = push.subscription_id
            annotate(subscription=push.subscription_id)
            handle(push, engines())
        return flask.Response(status=HTTPStatus.NO_CONTENT)

    return function


@cache
def _subscriptions_of(function: str) -> frozenset[str]:
    return frozenset(one.name for one in manifest().all_subscriptions if one.endpoint == function)


def message_subscriber(handle: Callable[[Message, Engines], None]) -> http.HttpFunction:
    """Make a function that gets the shop's own messages. It skips those that were published again
    for another subscription, and notes why a delivery failed."""

    @wraps(handle)
    def decode_and_handle(push: Push, engines: Engines) -> None:
        if push.is_for_another:
            return
        with _failures_noted(push, engines):
            message = decode_message(push)
            context = caused_by(message.context, str(message.id))
            annotate(message=message.type, subject=message.subject, context=context)
            if isinstance(event := message.data.get("data"), dict) and "order_id" in event:
                annotate(order=event["order_id"])  # of a product whose stock changed for it
            data = {"messageId": push.message.message_id, "type": message.type}
            with (
                watched(engines.recorder, "delivery", push.subscription_id, context, data) as watch,
                handling(context, f"process {message.topic}", SpanKind.CONSUMER, _about(push, message)),
            ):
                watch.subject = message.subject
                handle(message, engines)

    return push_subscriber(decode_and_handle)


def _about(push: Push, message: Message) -> dict[str, str]:
    return {
        "messaging.system": "gcp_pubsub",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": message.topic,
        "messaging.message.id": push.message.message_id,
        "messaging.destination.subscription.name": push.subscription_id,
        "shop.subject": message.subject,
    }


@contextmanager
def _failures_noted(push: Push, engines: Engines) -> Iterator[None]:
    """Store why a delivery failed, because Pub/Sub does not tell record_dead_letter, if that takes
    at most a second. The response neither waits longer nor depends on it.

    While a breaker is open, a projection is stopped, or it is another order's turn, store the
    message itself instead, to be published again later, and acknowledge it: waiting uses up no
    attempt.
    """
    try:
        yield
    except Exception as error:
        # Without this thread's deadline.
        noting = clock.shared_executor(2, "noting").submit(_note, engines, push, error)
        try:
            waits = noting.result(_NOTING_SECONDS)
        except Exception as reason:
            noting.cancel()
            waits = False
            _log.warning("could not note why a delivery failed", failure=describe_error(error), reason=repr(reason))
        if not waits:
            raise
        _log.info("the message waits and is published again", reason=describe_error(error))


def _note(engines: Engines, push: Push, error: Exception) -> bool:
    """Return whether the message waits for a dependency from now on."""
    about = push.subscription_id, fingerprint(push.message), describe_error(error)
    with deadline(_NOTING_SECONDS):
        if not isinstance(error, NotCalled):
            engines.dead_letters.note_failure(*about)
            return False
        if isinstance(error, BreakerOpen):
            engines.dead_letters.note_failure(*about, waits_for=error.dependency)
        waiting = postponed(decode_message(push), push.subscription_id, error.dependency)
        engines.sagas.postpone(waiting, error.retry_after)
        return True


def saga_step(kind: type[Command]) -> Callable[[Callable[[Command, Engines], object]], http.HttpFunction]:
    """Make a function that carries out one command of a saga.

    Pub/Sub may deliver the same command again at any time. No idempotency key guards against that:
    the handler uses `execute_step`, and finds the outcome of an earlier delivery on the order's
    stream.
    """

    def decorate(handle: Callable[[Command, Engines], object]) -> http.HttpFunction:
        @wraps(handle)
        def step(message: Message, engines: Engines) -> None:
            handle(command_from(message, kind), engines)

        return message_subscriber(step)

    return decorate


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
            engines.stops.refuse_stopped(engines.read_models, collection.read_model)
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


def scheduled(handle: Callable[[Engines], int]) -> http.HttpFunction:
    """Make a function that Cloud Scheduler calls; `handle` returns how many things it processed."""

    @http.http_function
    @wraps(handle)
    def function(request: flask.Request) -> flask.Response:
        return run_scheduled(handle.__name__, handle)

    return function


def run_scheduled(name: str, handle: Callable[[Engines], int]) -> flask.Response:
    """Run a scheduled function once, within its time limit, and return `{"done": ...}`."""
    with (
        http.measured(http.RUNS, name),
        handling(fresh(), name, SpanKind.SERVER, {}) as context,
        watched(engines().recorder, "run", name, context, {}),
        deadline(engines().settings.handler_timeout_seconds),
    ):
        return http.json_response(f'{{"done": {handle(engines())}}}')
