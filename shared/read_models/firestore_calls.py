"""What all calls of Firestore have in common: time limits, the circuit breaker, errors."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from google.api_core import exceptions as errors
from google.api_core.retry import AsyncRetry, Retry, if_transient_error
from google.cloud.firestore import AsyncClient

from shared.domain.errors import TimedOut, Unavailable
from shared.observability.context import SpanKind, span
from shared.resilience.breakers import Breaker
from shared.resilience.calls import OutOfTime, time_left

_CALL_SECONDS = 10.0
_RETRY_SECONDS = 2.0  # how long the client library repeats a call that fails with a transient error
_DOWN = (errors.ServiceUnavailable, errors.RetryError, errors.ResourceExhausted, errors.InternalServerError)


@contextmanager
def one_call(breaker: Breaker, scans: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the time limits of one call. Raise Unavailable or TimedOut for library errors.

    A timeout opens the breaker unless the caller had less than a call's time left, or the call
    `scans` many documents: both say something about the request, not about Firestore, and must not
    shut out other clients.
    """
    with breaker.guard(), span("the read models", SpanKind.CLIENT, {"db.system.name": "gcp.firestore"}):
        try:
            left = time_left(_CALL_SECONDS)
            blame = OutOfTime if scans or left < _CALL_SECONDS else TimedOut
            yield {"timeout": left, "retry": Retry(if_transient_error, timeout=min(left, _RETRY_SECONDS))}
        except (errors.DeadlineExceeded, TimeoutError) as error:
            raise blame("no answer from the read models in time") from error
        except _DOWN as error:
            raise Unavailable("no answer from the read models; try again in a moment") from error


@asynccontextmanager
async def one_async_call(breaker: Breaker, scans: bool = False) -> AsyncIterator[dict[str, Any]]:
    with one_call(breaker, scans) as bounds:
        async with asyncio.timeout(bounds["timeout"]):
            yield bounds | {"retry": AsyncRetry(if_transient_error, timeout=bounds["retry"].timeout)}


@asynccontextmanager
async def reading(client: AsyncClient, request: Any, bounds: Mapping[str, Any]) -> AsyncIterator[AsyncIterable[Any]]:
    """Send a request for documents as the library's own methods do. Yield the answers, which come
    one by one; those that are not awaited inside the block are not sent any more.

    The library's methods make a snapshot of each document, which copies all fields twice until they
    are read. That took more processor time than everything else of a query.
    """
    api = client._firestore_api
    send = api.run_query if "structured_query" in request else api.batch_get_documents
    answers = await send(request=request, metadata=client._rpc_metadata, **bounds)
    try:
        yield answers
    finally:
        answers.cancel()
