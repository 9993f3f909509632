"""Collect the functions' spans and draw each trace, for `scripts/dev --observe`.

A page of our own, because no registry has a viewer that runs alone and offline: Jaeger is a program
for Docker or Go. The newest traces are kept in memory.
"""

import argparse
import gzip
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape

import uvicorn
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

_KEPT, _LISTED = 1_000, 100
_ERROR = 2  # opentelemetry.proto.trace.v1.Status.STATUS_CODE_ERROR
_STYLE = """
body { font: 14px system-ui, sans-serif; margin: 1.5rem; color: #222; background: #fff }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: 2px 8px; white-space: nowrap }
tr:hover { background: #f2f5f9 } td.time { width: 55%; position: relative; height: 20px }
.bar { position: absolute; top: 4px; height: 12px; min-width: 2px; background: #3b76c4; border-radius: 2px }
.bad .bar { background: #c43b3b } .bad { color: #a11 } details { display: inline } small { color: #666 }
pre { margin: 0; white-space: pre-wrap }
"""


@dataclass(frozen=True)
class Span:
    """`began`, `ended`: nanoseconds since 1970."""

    id: str
    parent: str
    name: str
    began: int
    ended: int
    failed: bool
    attributes: dict[str, str]


@dataclass
class Trace:
    id: str
    spans: dict[str, Span] = field(default_factory=dict)

    @property
    def began(self) -> int:
        return min(span.began for span in self.spans.values())

    @property
    def ended(self) -> int:
        return max(span.ended for span in self.spans.values())

    @property
    def subjects(self) -> list[str]:
        """What the spans are about, such as order-<uuid>, in the order of time."""
        said = (span.attributes.get("shop.subject", "") for span in self.in_order())
        return [subject for subject in dict.fromkeys(said) if subject]

    def in_order(self) -> list[Span]:
        return sorted(self.spans.values(), key=lambda span: (span.began, span.ended))

    def tree(self) -> Iterator[tuple[int, Span]]:
        """Yield each span after its parent, with its depth. A span whose parent has not arrived is
        a root."""
        below: dict[str, list[Span]] = {}
        for span in self.in_order():
            below.setdefault(span.parent if span.parent in self.spans else "", []).append(span)
        stack = [(0, span) for span in reversed(below.get("", []))]
        while stack:
            depth, span = stack.pop()
            yield depth, span
            stack += [(depth + 1, child) for child in reversed(below.get(span.id, []))]


class Traces:
    """The newest traces, by id."""

    def __init__(self) -> None:
        self._traces: OrderedDict[str, Trace] = OrderedDict()

    def add(self, exported: bytes) -> None:
        """Add the spans of an OTLP request in protobuf. Raise its DecodeError."""
        request = ExportTraceServiceRequest.FromString(exported)
        for one in (
            span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans
        ):
            trace = self._traces.setdefault(one.trace_id.hex(), Trace(one.trace_id.hex()))
            attributes = {pair.key: _text(pair.value) for pair in one.attributes}
            times = one.start_time_unix_nano, one.end_time_unix_nano
            failed = one.status.code == _ERROR or "error.type" in attributes
            found = Span(one.span_id.hex(), one.parent_span_id.hex(), one.name, *times, failed, attributes)
            trace.spans[found.id] = found
        while len(self._traces) > _KEPT:
            self._traces.popitem(last=False)

    def newest(self) -> list[Trace]:
        return list(reversed(self._traces.values()))[:_LISTED]

    def find(self, trace_id: str) -> Trace | None:
        return self._traces.get(trace_id)

    def about(self, subject: str) -> Trace | None:
        """Return the trace that began with the subject, else the newest that is about it."""
        found = [trace for trace in self.newest() if subject in trace.subjects]
        return next((trace for trace in found if trace.subjects[0] == subject), found[0] if found else None)


def _text(value: AnyValue) -> str:
    return str(getattr(value, value.WhichOneof("value") or "string_value"))


def listing(traces: Traces) -> str:
    """Return the page with the newest traces."""
    rows = "".join(
        f'<tr class="{"bad" if any(span.failed for span in trace.spans.values()) else ""}">'
        f'<td><a href="/trace/{trace.id}">{escape(trace.in_order()[0].name)}</a></td>'
        f"<td>{escape(', '.join(trace.subjects[:3]))}</td><td>{len(trace.spans)}</td>"
        f"<td>{_milliseconds(trace.ended - trace.began)}</td></tr>"
        for trace in traces.newest()
    )
    head = "<tr><th>began with</th><th>about</th><th>spans</th><th>took</th></tr>"
    return _page("Traces", f"<table>{head}{rows}</table><p><small>The newest {_LISTED}. Reload for more.</small></p>")


def picture(trace: Trace) -> str:
    """Return the page of one trace: its spans as a tree, on one time axis."""
    whole = max(1, trace.ended - trace.began)
    rows = "".join(_row(depth, span, trace.began, whole) for depth, span in trace.tree())
    about = escape(", ".join(trace.subjects))
    return _page(f"Trace {trace.id}", f'<p>{about}</p><table>{rows}</table><p><a href="/">all traces</a></p>')


def _row(depth: int, span: Span, began: int, whole: int) -> str:
    left, width = 100 * (span.began - began) / whole, 100 * (span.ended - span.began) / whole
    facts = "\n".join(f"{name} = {value}" for name, value in sorted(span.attributes.items()))
    about = f"<summary>{escape(span.name)}</summary><pre>{escape(facts)}</pre>"
    name = f'<details style="margin-left:{depth}rem">{about}</details>'
    bar = f'<div class="bar" style="left:{left:.3f}%;width:{width:.3f}%"></div>'
    took = _milliseconds(span.ended - span.began)
    return f'<tr class="{"bad" if span.failed else ""}"><td>{name}</td><td>{took}</td><td class="time">{bar}</td></tr>'


def _milliseconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:,.1f} ms"


def _page(title: str, body: str) -> str:
    head = f"<!doctype html><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style>"
    return f"{head}<h1>{title}</h1>{body}"


def application(traces: Traces) -> Starlette:
    async def receive(request: Request) -> Response:
        body = await request.body()
        plain = gzip.decompress(body) if request.headers.get("content-encoding") == "gzip" else body
        await run_in_threadpool(traces.add, plain)
        return Response(b"", media_type="application/x-protobuf")

    async def everything(_: Request) -> Response:
        return HTMLResponse(listing(traces))

    async def one(request: Request) -> Response:
        trace = traces.find(request.path_params["id"])
        return HTMLResponse(picture(trace)) if trace else _missing("This trace is not here; the newest are kept.")

    async def of_order(request: Request) -> Response:
        trace = traces.about(f"order-{request.path_params['id']}")
        if trace is None:
            return _missing("No span is about this order yet. Spans arrive within a second; reload.")
        return RedirectResponse(f"/trace/{trace.id}")

    return Starlette(
        routes=[
            Route("/v1/traces", receive, methods=["POST"]),
            Route("/", everything),
            Route("/trace/{id}", one),
            Route("/order/{id}", of_order),
        ]
    )


def _missing(why: str) -> HTMLResponse:
    return HTMLResponse(_page("Not found", f'<p>{why} <a href="/">All traces</a></p>'), 404)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    uvicorn.run(application(Traces()), host="127.0.0.1", port=parser.parse_args().port, log_level="error")
