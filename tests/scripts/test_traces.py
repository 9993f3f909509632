"""The viewer of `scripts/dev --observe` draws spans as OpenTelemetry exports them."""

import asyncio
import gzip
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from scripts.local.traces import Traces, application

SECOND = 10**9


def span(number: int, parent: int, name: str, subject: str = "", failed: bool = False, trace: int = 1) -> Span:
    about = [KeyValue(key="shop.subject", value=AnyValue(string_value=subject))] if subject else []
    return Span(
        trace_id=trace.to_bytes(16, "big"),
        span_id=number.to_bytes(8, "big"),
        parent_span_id=parent.to_bytes(8, "big") if parent else b"",
        name=name,
        start_time_unix_nano=number * SECOND,
        end_time_unix_nano=10 * SECOND,
        attributes=about,
        status=Status(code=Status.STATUS_CODE_ERROR if failed else Status.STATUS_CODE_OK),
    )


def exported(*spans: Span) -> bytes:
    scopes = [ScopeSpans(spans=spans)]
    request = ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=scopes)])
    serialized: bytes = request.SerializeToString()
    return serialized


class Viewer:
    def __init__(self) -> None:
        self._transport = httpx.ASGITransport(application(Traces()))

    def get(self, path: str) -> httpx.Response:
        return asyncio.run(self._send("GET", path))

    def post(self, path: str, **request: Any) -> httpx.Response:
        return asyncio.run(self._send("POST", path, **request))

    async def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        url = "http://viewer"
        async with httpx.AsyncClient(transport=self._transport, base_url=url, follow_redirects=True) as client:
            return await client.request(method, path, **request)


@pytest.fixture
def viewer() -> Viewer:
    return Viewer()


def test_an_order_is_shown_as_a_tree_even_when_parents_arrive_last(viewer: Viewer) -> None:
    viewer.post("/v1/traces", content=exported(span(3, 2, "<pay & ship>", "order-7", failed=True)))
    body, gzipped = exported(span(2, 1, "process order-events"), span(1, 0, "graphql")), {"content-encoding": "gzip"}
    assert viewer.post("/v1/traces", content=gzip.compress(body), headers=gzipped).status_code == 200
    page = viewer.get("/order/7")
    assert page.status_code == 200
    names = [page.text.index(name) for name in ("graphql", "process order-events", "&lt;pay &amp; ship&gt;")]
    assert names == sorted(names) and "<pay" not in page.text
    assert page.text.count('class="bad"') == 1
    assert "margin-left:2rem" in page.text and "7,000.0 ms" in page.text
    assert viewer.get("/").text.count("order-7") == 1


def test_an_order_is_shown_with_the_trace_that_began_with_it(viewer: Viewer) -> None:
    viewer.post("/v1/traces", content=exported(span(1, 0, "own", "order-7")))
    viewer.post(
        "/v1/traces", content=exported(span(2, 0, "other", "order-8", trace=2), span(3, 0, "b", "order-7", trace=2))
    )
    assert "own" in viewer.get("/order/7").text


def test_what_is_not_there_is_said(viewer: Viewer) -> None:
    for path in ("/order/9", "/trace/9"):
        answer = viewer.get(path)
        assert (answer.status_code, "not" in answer.text.lower()) == (404, True)
    assert viewer.get("/").status_code == 200
