"""Know why something happens: ids, annotations of log lines, and traces.

Spans follow OpenTelemetry's semantic conventions. All that happens to one order is one trace, over
all functions and messages: it travels as `traceparent` (W3C) in HTTP headers, messages' attributes
and events' metadata, from which it is continued minutes or days later. Spans go to Cloud Trace on
Cloud Run, or to OTEL_EXPORTER_OTLP_ENDPOINT where that is set; without either none are made.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry import trace
from opentelemetry.context import Context as SpanContext
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.observability.error_codes import status_and_code
from shared.resilience import clock

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from shared.observability.tracing import Tracing

T = TypeVar("T")
__all__ = ["SpanKind"]  # the kinds of spans, for the callers of `span` and `handling`


@dataclass(frozen=True)
class Context:
    """`correlation_id`: the same for all that follows from one client request. `causation_id`: the
    command or message that directly caused this. `actor`: the id of the user who asked; "nobody" is
    an anonymous client, "system" the shop itself. `traceparent`: W3C Trace Context."""

    correlation_id: str
    causation_id: str
    actor: str = "nobody"
    traceparent: str | None = None

    @property
    def trace_id(self) -> str | None:
        return self.traceparent.split("-", 3)[1] if self.traceparent else None


# A ContextVar, because log lines and outgoing calls deep below a handler need it.
_current: ContextVar[Context] = ContextVar("context")


def current() -> Context:
    """Return the context of the request being handled; outside of one, a new context of the
    shop."""
    return _current.get(None) or fresh()


def handled() -> Context | None:
    """Return the context of the request being handled, also after its own work has ended or before
    it has begun."""
    return _current.get(None) or _annotations.get({}).get("context")


def handled_function() -> str | None:
    """Return the name of the function that handles the request."""
    return _annotations.get({}).get("function")


def handled_order() -> str | None:
    """Return the id of the order that the request being handled is about."""
    annotated = _annotations.get({})
    aggregate, _, order_id = str(annotated.get("subject") or "").partition("-")
    return annotated.get("order") or (order_id if aggregate == "order" else None)


def fresh(actor: str = "system", traceparent: str | None = None) -> Context:
    new_id = str(clock.new_id())
    return Context(new_id, new_id, actor, traceparent)


def caused_by(context: Context, causation_id: str) -> Context:
    return Context(context.correlation_id, causation_id, context.actor, context.traceparent)


class _Having(AbstractContextManager[T]):
    """Set a variable inside the block. No generator: several blocks are entered for each
    request."""

    def __init__(self, variable: ContextVar[T], value: T) -> None:
        self._variable, self._value = variable, value

    def __enter__(self) -> T:
        self._token = self._variable.set(self._value)
        return self._value

    def __exit__(self, *_: object) -> None:
        self._variable.reset(self._token)


def within(context: Context) -> AbstractContextManager[Context]:
    """Make `context` the current one inside the block."""
    return _Having(_current, context)


def stored_context(metadata: Mapping[str, Any]) -> Context:
    """Decode a stored context, ignoring fields that a newer version of this code has added."""
    known = {field.name for field in fields(Context)}
    return Context(**{name: value for name, value in metadata.items() if name in known})


# A ContextVar, because code at any depth below a request adds to the request's one log line.
_annotations: ContextVar[dict[str, Any]] = ContextVar("annotations")


def annotations() -> AbstractContextManager[dict[str, Any]]:
    """Collect what is annotated inside the block."""
    return _Having(_annotations, {})


def annotate(**facts: Any) -> None:
    """Add facts to the log line of the request being handled; outside of one, do nothing."""
    _annotations.get({}).update(facts)


Attributes = Mapping[str, str | int] | Mapping[str, str]

UNTRACED = f"00-{'1' * 32}-{'1' * 16}-00"
"""A parent below which no spans are made, for loops that repeat without end and would only be
noise."""


_PROPAGATOR = TraceContextTextMapPropagator()
_tracing: "Tracing | None" = None


def configure(exporter: "SpanExporter | None", ratio: float = 1.0, at_once: bool = False) -> None:
    """Export this share of all traces; without an exporter, make no spans. `at_once`: unbatched."""
    global _tracing
    _tracing = None
    if exporter:
        from shared.observability.tracing import Tracing  # the SDK takes a while to import

        _tracing = Tracing(exporter, ratio, at_once)


@lru_cache
def exporter_of_the_environment(project_id: str) -> "SpanExporter | None":
    """Return the exporter that the environment asks for. Google's takes 0.3 seconds to import."""
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter()
    if os.environ.get("K_SERVICE"):
        from opentelemetry.exporter.cloud_trace import CloudTraceSpanExporter

        return CloudTraceSpanExporter(project_id)  # type: ignore[no-untyped-call]
    return None


def must_flush() -> bool:
    """Return whether ended spans must be exported before the response: Cloud Run takes the CPU away
    after it."""
    return _tracing is not None and bool(os.environ.get("K_SERVICE"))


def flush() -> None:
    """Export the ended spans now, if that is needed."""
    if _tracing and must_flush():
        _tracing.provider.force_flush(timeout_millis=2000)


def sampled(received: str | None) -> str | None:
    """Return a client's traceparent with our own sampling decision, because we pay for the traces;
    None when it is malformed."""
    parent = _parent(received)
    context = trace.get_current_span(parent).get_span_context() if parent else None
    if not received or context is None or not context.is_valid:
        return None
    wanted = _tracing is None or _tracing.wants(context.trace_id)
    return f"{received[:-2]}{'01' if wanted else '00'}"


@contextmanager
def handling(context: Context, name: str, kind: SpanKind, attributes: Attributes) -> Iterator[Context]:
    """Handle a request or message: continue its trace with a span, and make its context current."""
    ids = {"shop.correlation_id": context.correlation_id, "shop.causation_id": context.causation_id}
    with span(name, kind, {**ids, **attributes}, context.traceparent):
        inner = replace(context, traceparent=here) if (here := traceparent()) else context
        annotate(context=inner)
        with within(inner):
            yield inner


_NO_SPAN = nullcontext(trace.INVALID_SPAN)  # which records nothing


def span(
    name: str, kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes | None = None, parent: str | None = None
) -> AbstractContextManager[Span]:
    """Make a span below the traceparent `parent`, by default below the current span.
    An error that leaves the block is recorded by its code or type, never by its text."""
    return _span(_tracing, name, kind, attributes, parent) if _tracing else _NO_SPAN


@contextmanager
def _span(
    tracing: "Tracing", name: str, kind: SpanKind, attributes: Attributes | None, parent: str | None
) -> Iterator[Span]:
    with tracing.provider.get_tracer("shop").start_as_current_span(
        name, _parent(parent), kind, attributes, record_exception=False, set_status_on_exception=False
    ) as started:
        try:
            yield started
        except BaseException as error:
            status, code = status_and_code(error)
            started.set_attribute("error.type", code if status < 500 else type(error).__name__)
            if status >= 500:
                started.set_status(Status(StatusCode.ERROR, code))
            raise


def describe(attributes: Attributes) -> None:
    """Add attributes to the current span, if there is one."""
    if _tracing is not None:
        trace.get_current_span().set_attributes(dict(attributes))


def traceparent() -> str | None:
    """Return the traceparent of the current span; None when no span is made."""
    if _tracing is None or trace.get_current_span() is trace.INVALID_SPAN:
        return None
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def _parent(received: str | None) -> SpanContext | None:
    return _PROPAGATOR.extract({"traceparent": received}, SpanContext()) if received else None
