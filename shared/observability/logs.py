"""Log lines: one JSON object each on Cloud Run, with the fields that Cloud Logging understands; in colour for people."""

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any
from urllib.parse import quote

import structlog
from structlog.typing import EventDict, Processor

from shared.observability.context import annotations, current_or_none, traceparent, within
from shared.resilience import clock

_log = structlog.get_logger()

_EMAIL = re.compile(r"[\w.+%-]{1,64}@[\w-]{1,63}(\.[\w-]{1,63})+")
_TOKEN = re.compile(r"(?i)bearer\s+\S+|\beyJ[\w-]+\.[\w-]+\.[\w-]*")


def configure(project_id: str) -> None:
    """Once, when a process starts. What libraries log through `logging` comes out in the same form."""
    shared: list[Processor] = [structlog.stdlib.add_log_level, _why, _without_secrets]
    shared += [structlog.processors.TimeStamper("iso"), structlog.processors.StackInfoRenderer()]
    structlog.configure(
        [*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(project_id)],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for noisy in ("httpx", "google.auth", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


@contextmanager
def access_line(function: str, method: str, path: str) -> Iterator[None]:
    """One line for the request that is answered inside, once it has been, whatever became of it. `status` and all else
    that is remarked are part of it."""
    began = clock.monotonic()
    with annotations() as remarks:
        try:
            yield
        finally:
            context = remarks.pop("context", None)
            about = {
                "function": function,
                "method": method[:20],
                "path": quote(path[:200], safe="/@", errors="replace"),
            }
            taken = round((clock.monotonic() - began) * 1000, 1)
            with within(context) if context else nullcontext():
                _log.info("request", **about, **({"status": 500} | remarks), milliseconds=taken)


def _rendering(project_id: str) -> list[Processor]:
    if not os.environ.get("K_SERVICE"):
        return [
            structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    cloud = partial(_for_cloud_logging, project_id)
    return [structlog.processors.format_exc_info, cloud, structlog.processors.JSONRenderer(default=str)]


def _why(_logger: Any, _method: str, line: EventDict) -> EventDict:
    """Add what ties a line to its request."""
    if context := current_or_none():
        line.update(correlation_id=context.correlation_id, actor=context.actor)
    return line


def _without_secrets(_logger: Any, _method: str, line: EventDict) -> EventDict:
    """Whoever wrote the line may not have thought of what a library's message holds."""
    return {key: _masked(value) if isinstance(value, str) else value for key, value in line.items()}


def _masked(text: str) -> str:
    return _EMAIL.sub("***@***", _TOKEN.sub("***", text))


def _for_cloud_logging(project_id: str, _logger: Any, _method: str, line: EventDict) -> EventDict:
    """https://cloud.google.com/logging/docs/structured-logging"""
    line["severity"] = str(line.pop("level", "default")).upper()
    line["message"] = line.pop("event", "")
    line["function"] = os.environ["K_SERVICE"]
    if exception := line.pop("exception", None):
        line["stack_trace"] = _masked(exception)
    if trace := _trace():
        _, trace_id, span_id, _ = trace.split("-", 3)
        line["logging.googleapis.com/trace"] = f"projects/{project_id}/traces/{trace_id}"
        line["logging.googleapis.com/spanId"] = span_id
    return line


def _trace() -> str | None:
    context = current_or_none()
    return traceparent() or (context.traceparent if context else None)
