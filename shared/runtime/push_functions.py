"""The decorators that make functions which Pub/Sub or Cloud Scheduler calls: decode, call the
handler, acknowledge.

Pub/Sub takes the status 204 as an acknowledgement. After any error it delivers the message again
later, and after the last attempt it moves the message to the dead-letter topic.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, wraps
from http import HTTPStatus
from typing import TypeVar

import flask
import structlog

from shared.config.manifest import manifest
from shared.dead_letters.failures import describe_error
from shared.dead_letters.protocol import fingerprint
from shared.domain.errors import Forbidden
from shared.domain.faults import shown
from shared.messaging.envelope import Message, Push, command_from, decode_message, decode_push, postponed
from shared.monitoring.recorder import watched
from shared.observability.context import SpanKind, annotate, caused_by, fresh, handling
from shared.resilience import clock
from shared.resilience.breakers import BreakerOpen
from shared.resilience.calls import NotCalled, Postponed, deadline
from shared.runtime import http
from shared.runtime.current import engines
from shared.runtime.engines import Engines

Command = TypeVar("Command")

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
            suppress(Postponed),
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
            _failures_noted(push, engines),
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
    message itself instead, to be published again later, and raise Postponed, so that it is
    acknowledged: waiting uses up no attempt.
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
        raise Postponed from error


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
