"""Why something happens: the ids that tie a request, its events and everything that follows from them together; and spans,
after OpenTelemetry's semantic conventions, in which what happens to one order is one trace, however many functions and
messages it takes.

Where spans go: to Cloud Trace on Cloud Run, to OTEL_EXPORTER_OTLP_ENDPOINT where that is set, otherwise nowhere, and then
none are made. A trace travels as `traceparent` (W3C): in HTTP headers, in messages' attributes, and in events' metadata,
from where it goes on after minutes or days.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context as SpanContext
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, TraceIdRatioBased
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.domain.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Rejected,
    TimedOut,
    Unauthenticated,
    Unavailable,
)
from shared.resilience import clock


@dataclass(frozen=True)
class Context:
    """`correlation_id`: the same for all that one client request leads to. `causation_id`: the command or message that
    directly caused this. `actor`: who asked, as a user id; "nobody" without sign-in, "system" for the shop itself.
    `traceparent`: W3C Trace Context."""

    correlation_id: str
    causation_id: str
    actor: str = "nobody"
    traceparent: str | None = None


_current: ContextVar[Context] = ContextVar("context")


def current() -> Context:
    """The context of the request being handled; outside of one, a new context of the shop itself."""
    return _current.get(None) or fresh()


def current_or_none() -> Context | None:
    return _current.get(None)


def fresh(actor: str = "system") -> Context:
    new_id = str(clock.new_id())
    return Context(correlation_id=new_id, causation_id=new_id, actor=actor)


def caused_by(context: Context, causation_id: str) -> Context:
    return replace(context, causation_id=causation_id)


@contextmanager
def within(context: Context) -> Iterator[None]:
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)


def stored_context(metadata: Mapping[str, Any]) -> Context:
    """As it was stored, perhaps by a newer version of this code that knew more."""
    known = {field.name for field in fields(Context)}
    return Context(**{name: value for name, value in metadata.items() if name in known})


_remarks: ContextVar[dict[str, Any]] = ContextVar("remarks")


@contextmanager
def annotations() -> Iterator[dict[str, Any]]:
    """Collects what is remarked inside."""
    remarks: dict[str, Any] = {}
    token = _remarks.set(remarks)
    try:
        yield remarks
    finally:
        _remarks.reset(token)


def annotate(**found: Any) -> None:
    """Something that the line in the log about the request in hand should say."""
    _remarks.get({}).update(found)


__all__ = ["SpanKind", "configure", "flush", "handling", "sampled", "span", "traceparent"]

Attributes = Mapping[str, str | int] | Mapping[str, str]

UNTRACED = f"00-{'1' * 32}-{'1' * 16}-00"
"""As a parent: no spans are made within. For what repeats without end and would be nothing but noise."""

_NO_SPAN = nullcontext(INVALID_SPAN)
_PROPAGATOR = TraceContextTextMapPropagator()
_provider: TracerProvider | None = None
_sampler = TraceIdRatioBased(1.0)


def configure(exporter: SpanExporter | None, ratio: float = 1.0, at_once: bool = False) -> None:
    """From now on make spans for so many of all traces, or none without an exporter. `at_once`: export each as it ends."""
    global _provider, _sampler
    _sampler = TraceIdRatioBased(ratio)
    if exporter is None:
        _provider = None
        return
    name = os.environ.get("K_SERVICE") or os.environ.get("FUNCTION_TARGET") or "shop"
    _provider = TracerProvider(ParentBased(_sampler), Resource.create({"service.name": name}), shutdown_on_exit=False)
    _provider.add_span_processor(SimpleSpanProcessor(exporter) if at_once else BatchSpanProcessor(exporter))


@lru_cache
def exporter_of_the_environment(project_id: str) -> SpanExporter | None:
    """Imported only where it is used: Google's takes a third of a second."""
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter()
    if os.environ.get("K_SERVICE"):
        from opentelemetry.exporter.cloud_trace import CloudTraceSpanExporter

        return CloudTraceSpanExporter(project_id)  # type: ignore[no-untyped-call]
    return None


def flush() -> None:
    """Send what has ended. Where the CPU is taken away after the response, nothing is sent later."""
    if _provider and os.environ.get("K_SERVICE"):
        _provider.force_flush(timeout_millis=2000)


def sampled(given: str | None) -> str | None:
    """A client's traceparent with our decision in place of its own, which would let it choose what we pay for."""
    parent = _parent(given)
    context = trace.get_current_span(parent).get_span_context() if parent else None
    if not given or context is None or not context.is_valid:
        return None
    wanted = _sampler.should_sample(None, context.trace_id, "").decision is Decision.RECORD_AND_SAMPLE
    return f"{given[:-2]}{'01' if wanted else '00'}"


@contextmanager
def handling(context: Context, name: str, kind: SpanKind, attributes: Attributes) -> Iterator[Context]:
    """Handle a request or message: a span that goes on with the context's trace, and the context current within it."""
    about = {"shop.correlation_id": context.correlation_id, "shop.causation_id": context.causation_id, **attributes}
    with span(name, kind, about, context.traceparent):
        inner = replace(context, traceparent=traceparent() or context.traceparent)
        annotate(context=inner)
        with within(inner):
            yield inner


def span(
    name: str, kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes | None = None, parent: str | None = None
) -> AbstractContextManager[Span]:
    """`parent`: a traceparent; without it the current span. What is raised is recorded by its type, never its text."""
    return _span(_provider.get_tracer("shop"), name, kind, attributes, parent) if _provider else _NO_SPAN


@contextmanager
def _span(
    tracer: Tracer, name: str, kind: SpanKind, attributes: Attributes | None, parent: str | None
) -> Iterator[Span]:
    with tracer.start_as_current_span(
        name, _parent(parent), kind, attributes, record_exception=False, set_status_on_exception=False
    ) as made:
        try:
            yield made
        except BaseException as error:
            status, code = classify(error)
            made.set_attribute("error.type", code if status < 500 else type(error).__name__)
            if status >= 500:
                made.set_status(Status(StatusCode.ERROR, code))
            raise


def describe(attributes: Attributes) -> None:
    """What has been found out about the current span, if one is made."""
    trace.get_current_span().set_attributes(dict(attributes))


def traceparent() -> str | None:
    """Of the current span; None where none is made."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def _parent(given: str | None) -> SpanContext | None:
    return _PROPAGATOR.extract({"traceparent": given}, SpanContext()) if given else None


ANSWERS: dict[type[Exception], tuple[int, str]] = {
    Invalid: (422, "INVALID_INPUT"),
    NotFound: (404, "NOT_FOUND"),
    Rejected: (409, "BUSINESS_RULE_VIOLATION"),
    Conflict: (409, "CONFLICT"),
    Unavailable: (503, "SERVICE_UNAVAILABLE"),
    Unauthenticated: (401, "UNAUTHENTICATED"),
    Forbidden: (403, "FORBIDDEN"),
    TimedOut: (504, "TIMEOUT"),
}
"""Status and code by error, subclasses included."""


def classify(error: BaseException) -> tuple[int, str]:
    """Status and code of an error. What is not in the table is a fault of ours. A group counts as its first error."""
    if isinstance(error, BaseExceptionGroup):
        return classify(error.exceptions[0])
    known = (ANSWERS[kind] for kind in type(error).__mro__ if kind in ANSWERS)
    return next(known, (500, "INTERNAL_ERROR"))
