"""Make spans with OpenTelemetry's SDK, and sample and export them."""

import os

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, TraceIdRatioBased


class Tracing:
    """`ratio`: the share of all traces that is exported. `at_once`: export each span when it ends,
    unbatched."""

    def __init__(self, exporter: SpanExporter, ratio: float, at_once: bool) -> None:
        name = os.environ.get("K_SERVICE") or os.environ.get("FUNCTION_TARGET") or "shop"
        resource, self._sampler = Resource.create({"service.name": name}), TraceIdRatioBased(ratio)
        self.provider = TracerProvider(ParentBased(self._sampler), resource, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(exporter) if at_once else BatchSpanProcessor(exporter))

    def wants(self, trace_id: int) -> bool:
        """Return whether the trace is among those that are exported."""
        return self._sampler.should_sample(None, trace_id, "").decision is Decision.RECORD_AND_SAMPLE
