"""The gateways over HTTP. Each order has failures of its own: the breaker counts orders, not
attempts."""

import json
from dataclasses import dataclass, field
from typing import Annotated, Literal
from urllib.parse import urlsplit

import httpx
import structlog
from google.auth.exceptions import GoogleAuthError
from pydantic import BeforeValidator, Field

from shared.auth.identity import signed
from shared.config.settings import Settings
from shared.domain.errors import Invalid, TimedOut, Unavailable
from shared.domain.values import Money, adapter
from shared.gateways.protocol import Accepted, Declined, Outcome, Unreadable
from shared.gateways.turns import Turns
from shared.observability.context import SpanKind, current, span, traceparent
from shared.resilience.breakers import Breaker, Breakers
from shared.resilience.calls import deadline, time_left

TIMEOUT = 3.0
"""Seconds for one call, including the last byte of its answer."""
MAX_ANSWER = 100_000  # bytes
MAX_TEXT = 1_000  # characters of a reason
_PERMANENT_REFUSALS = frozenset({400, 401, 403, 405, 409, 410, 413, 415, 422})
"""Statuses that a retry will not change: the request is wrong, the provider works."""

_log = structlog.get_logger()


def _storable(value: object) -> object:
    """Cut a text, and drop what PostgreSQL cannot store: NUL and half a surrogate pair."""
    if not isinstance(value, str):
        return value
    return "".join(c for c in value[:MAX_TEXT] if c != "\0" and not "\ud800" <= c <= "\udfff")


@dataclass(frozen=True)
class _Answer:
    status: Literal["accepted", "refused", "undone"]
    reference: Annotated[str, BeforeValidator(_storable), Field(max_length=200)] = ""
    reason: Annotated[str, BeforeValidator(_storable)] = ""


@dataclass(frozen=True)
class HttpProvider:
    """Every gateway over HTTP: PUT makes a payment, a shipment or a notification, DELETE undoes it.
    Both may repeat.

    `url`: without a trailing slash. `authorization`: the value of that header; `id-token` stands
    for an ID token of this function. Raise Invalid for a permanent refusal, else Unavailable or
    TimedOut.
    """

    url: str
    client: httpx.Client
    breaker: Breaker
    authorization: str = field(default="", repr=False)
    turns: Turns = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "turns", Turns(self.breaker.name))

    def charge(self, key: str, amount: Money, method: str) -> Outcome:
        return self._make(key, {"amount": str(amount.amount), "currency": amount.currency, "method": method})

    def arrange(self, key: str, method: str) -> Outcome:
        return self._make(key, {"method": method})

    def notify(self, key: str, user: str) -> Outcome:
        return self._make(key, {"method": "order-confirmed", "user": user})

    def refund(self, key: str) -> None:
        self.cancel(key)

    def cancel(self, key: str) -> None:
        """Raise Invalid also when the answer does not say that it is undone."""
        answer = self._call("DELETE", key, None)
        if answer is None or answer.status != "undone":
            raise Invalid(f"{self.breaker.name} did not answer with the status undone")

    def _make(self, key: str, body: dict[str, str]) -> Outcome:
        answer = self._call("PUT", key, body)
        if answer is None:
            return Unreadable()
        return Accepted(answer.reference) if answer.status == "accepted" else Declined(answer.reason)

    def _call(self, method: str, key: str, body: dict[str, str] | None) -> _Answer | None:
        """Return the provider's answer, None when it is malformed."""
        name = self.breaker.name
        about = {"http.request.method": method, "server.address": urlsplit(self.url).hostname or ""}
        with self.turns.of(key), self.breaker.guard(key), span(f"{method} {name}", SpanKind.CLIENT, about):
            try:
                return _parsed(self._content(method, key, body))
            except httpx.DecodingError as error:
                _log.error("a provider's answer is malformed", provider=name, key=key, reason=str(error))
                return None
            except (httpx.TimeoutException, TimedOut) as error:
                raise TimedOut(f"no answer from {name} in time; it may have happened") from error
            except (httpx.HTTPError, GoogleAuthError) as error:
                raise Unavailable(f"no answer from {name}; try again in a moment") from error

    def _content(self, method: str, key: str, body: dict[str, str] | None) -> bytes:
        url, content = f"{self.url}/{key}", bytearray()
        headers = self._headers(key)
        with (
            deadline(TIMEOUT),
            self.client.stream(method, url, json=body, headers=headers, timeout=time_left(TIMEOUT)) as response,
        ):
            if response.status_code in _PERMANENT_REFUSALS:
                raise Invalid(f"{self.breaker.name} does not take the request: {response.status_code}")
            response.raise_for_status()
            for part in response.iter_bytes():  # httpx limits each part, time_left their sum
                content += part
                if len(content) > MAX_ANSWER:
                    raise httpx.DecodingError(f"it has more than {MAX_ANSWER:,} bytes")
                time_left(TIMEOUT)
        return bytes(content)

    def _headers(self, key: str) -> dict[str, str]:
        context = current()
        headers = {"Idempotency-Key": key, "X-Correlation-Id": context.correlation_id}
        if trace := traceparent() or context.traceparent:
            headers["traceparent"] = trace
        authorization = self.authorization.strip()  # a secret's file often ends in a new line
        if authorization == "id-token":
            return headers | signed(self.url)
        return headers | ({"Authorization": authorization} if authorization else {})


def provider(kind: str, settings: Settings, client: httpx.Client, breakers: Breakers) -> HttpProvider:
    """`kind`: the beginning of its settings, for example `payment`."""
    url, authorization = getattr(settings, f"{kind}_url"), getattr(settings, f"{kind}_authorization")
    return HttpProvider(url, client, breakers[f"the {kind} provider"], authorization)


def _parsed(content: bytes) -> _Answer:
    """Raise DecodingError unless the content is an answer. pydantic's own parser refuses
    surrogates."""
    try:
        answer: _Answer = adapter(_Answer).validate_python(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise httpx.DecodingError(f"it is no answer: {type(error).__name__}, {len(content)} bytes") from error
    return answer
