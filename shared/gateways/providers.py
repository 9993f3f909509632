"""The payment and shipping providers: what the shop needs from them, and their calls over HTTP.

Every call carries a key, the order's id. The same key always gets the first answer; undoing an
unused key forbids it for ever. A provider that cannot do the latter needs an adapter that can.
Every call raises Unavailable or TimedOut when the outcome is unknown.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, Protocol
from urllib.parse import urlsplit

import httpx
from google.auth.exceptions import GoogleAuthError
from pydantic import AfterValidator, ValidationError

from shared.auth.identity import signed
from shared.domain.errors import Invalid, TimedOut, Unavailable
from shared.domain.values import Money, adapter
from shared.observability.context import SpanKind, current, span, traceparent
from shared.resilience.breakers import Breaker
from shared.resilience.calls import deadline, time_left


@dataclass(frozen=True)
class Accepted:
    """`reference`: the provider's own id for the payment or the shipment."""

    reference: str


@dataclass(frozen=True)
class Declined:
    """A business answer that a retry will not change."""

    reason: str


class PaymentGateway(Protocol):
    def charge(self, key: str, amount: Money, method: str) -> Accepted | Declined: ...

    def refund(self, key: str) -> None:
        """After it returns, nothing is charged under the key and never will be."""


class ShippingGateway(Protocol):
    def arrange(self, key: str, method: str) -> Accepted | Declined: ...

    def cancel(self, key: str) -> None:
        """After it returns, nothing is shipped under the key and never will be."""


TIMEOUT = 3.0
"""Seconds for one call, including the last byte of its answer."""
MAX_ANSWER = 100_000
"""Bytes."""
_PERMANENT_REFUSALS = frozenset({400, 401, 403, 405, 409, 410, 413, 415, 422})
"""Statuses that a retry will not change: the request is wrong; the breaker ignores them."""

_WithoutNul = Annotated[str, AfterValidator(lambda text: text.replace("\0", ""))]


@dataclass(frozen=True)
class _Answer:
    status: Literal["accepted", "refused", "undone"]
    reference: _WithoutNul = ""
    reason: _WithoutNul = ""


class HttpProvider:
    """One provider's endpoint: PUT makes a payment or shipment, DELETE undoes it. Both may repeat.

    `url`: without a trailing slash. `authorization`: the value of that header; `id-token` stands
    for an ID token of this function. Raise Invalid for a permanent refusal, else Unavailable or
    TimedOut.
    """

    def __init__(self, url: str, client: httpx.Client, breaker: Breaker, authorization: str = "") -> None:
        self._url = url
        self._client = client
        self._breaker = breaker
        self._authorization = authorization.strip()  # a secret's file often ends in a new line

    def make(self, key: str, body: dict[str, str]) -> Accepted | Declined:
        answer = self._call("PUT", key, body)
        return Accepted(answer.reference) if answer.status == "accepted" else Declined(answer.reason)

    def undo(self, key: str) -> None:
        self._call("DELETE", key, None)

    def _call(self, method: str, key: str, body: dict[str, str] | None) -> _Answer:
        name = self._breaker.name
        about = {"http.request.method": method, "server.address": urlsplit(self._url).hostname or ""}
        with self._breaker.guard(), span(f"{method} {name}", SpanKind.CLIENT, about):
            try:
                return self._answer(method, key, body)
            except (httpx.TimeoutException, TimedOut) as error:
                raise TimedOut(f"{name} did not answer in time; it may have happened") from error
            except (httpx.HTTPError, ValidationError, GoogleAuthError) as error:
                raise Unavailable(f"{name} does not answer: {type(error).__name__}") from error

    def _answer(self, method: str, key: str, body: dict[str, str] | None) -> _Answer:
        url, content = f"{self._url}/{key}", bytearray()
        headers = self._headers(key)
        with (
            deadline(TIMEOUT),
            self._client.stream(method, url, json=body, headers=headers, timeout=time_left(TIMEOUT)) as response,
        ):
            if response.status_code in _PERMANENT_REFUSALS:
                raise Invalid(f"{self._breaker.name} does not take the request: {response.status_code}")
            response.raise_for_status()
            for part in response.iter_bytes():  # httpx limits each part, time_left their sum
                content += part
                if len(content) > MAX_ANSWER:
                    raise httpx.DecodingError(f"more than {MAX_ANSWER} bytes")
                time_left(TIMEOUT)
        answer: _Answer = adapter(_Answer).validate_json(bytes(content))
        return answer

    def _headers(self, key: str) -> dict[str, str]:
        context = current()
        headers = {"Idempotency-Key": key, "X-Correlation-Id": context.correlation_id}
        if trace := traceparent() or context.traceparent:
            headers["traceparent"] = trace
        if self._authorization == "id-token":
            return headers | signed(self._url)
        return headers | ({"Authorization": self._authorization} if self._authorization else {})


class HttpPayments:
    def __init__(self, url: str, client: httpx.Client, breaker: Breaker, authorization: str = "") -> None:
        self._provider = HttpProvider(url, client, breaker, authorization)

    def charge(self, key: str, amount: Money, method: str) -> Accepted | Declined:
        return self._provider.make(key, {"amount": str(amount.amount), "currency": amount.currency, "method": method})

    def refund(self, key: str) -> None:
        self._provider.undo(key)


class HttpShipping:
    def __init__(self, url: str, client: httpx.Client, breaker: Breaker, authorization: str = "") -> None:
        self._provider = HttpProvider(url, client, breaker, authorization)

    def arrange(self, key: str, method: str) -> Accepted | Declined:
        return self._provider.make(key, {"method": method})

    def cancel(self, key: str) -> None:
        self._provider.undo(key)
