"""Payment and shipping providers over HTTP, each behind a time limit and a circuit breaker."""

from dataclasses import dataclass
from typing import Annotated, Literal

import httpx
import pybreaker
from pydantic import AfterValidator, TypeAdapter, ValidationError

from shared.domain.errors import Unavailable
from shared.domain.values import Money
from shared.gateways.protocol import Accepted, Refused
from shared.observability.context import current

TIMEOUT = 3.0
"""Seconds for one call."""


@dataclass(frozen=True)
class _Answer:
    status: Literal["accepted", "refused", "undone"]
    reference: Annotated[str, AfterValidator(lambda text: text.replace("\0", ""))] = ""
    reason: Annotated[str, AfterValidator(lambda text: text.replace("\0", ""))] = ""


_ANSWER = TypeAdapter(_Answer)


class HttpProvider:
    """One provider's endpoint: PUT makes what the key stands for, DELETE undoes it. Both may be repeated.

    `url`: without a trailing slash. After `fail_max` failures in a row calls are refused at once for `reset_timeout`
    seconds; a business refusal is an answer, not a failure.
    """

    def __init__(self, name: str, url: str, fail_max: int = 10, reset_timeout: float = 5) -> None:
        self._name = name
        self._url = url
        self._client = httpx.Client(timeout=TIMEOUT)
        self._breaker = pybreaker.CircuitBreaker(fail_max, reset_timeout, name=name)

    def make(self, key: str, body: dict[str, str]) -> Accepted | Refused:
        answer = self._call("PUT", key, body)
        return Accepted(answer.reference) if answer.status == "accepted" else Refused(answer.reason)

    def undo(self, key: str) -> None:
        self._call("DELETE", key, None)

    def _call(self, method: str, key: str, body: dict[str, str] | None) -> _Answer:
        try:
            answer: _Answer = self._breaker.call(self._request, method, key, body)
        except pybreaker.CircuitBreakerError as error:
            raise Unavailable(f"{self._name} keeps failing and is left alone for a moment") from error
        except (httpx.HTTPError, ValidationError) as error:
            raise Unavailable(f"{self._name} does not answer: {type(error).__name__}") from error
        return answer

    def _request(self, method: str, key: str, body: dict[str, str] | None) -> _Answer:
        context = current()
        headers = {"Idempotency-Key": key, "X-Correlation-Id": context.correlation_id}
        if context.traceparent:
            headers["traceparent"] = context.traceparent
        response = self._client.request(method, f"{self._url}/{key}", json=body, headers=headers)
        return _ANSWER.validate_json(response.raise_for_status().content)


class HttpPayments:
    def __init__(self, url: str) -> None:
        self._provider = HttpProvider("the payment provider", url)

    def charge(self, key: str, amount: Money, method: str) -> Accepted | Refused:
        return self._provider.make(key, {"amount": str(amount.amount), "currency": amount.currency, "method": method})

    def refund(self, key: str) -> None:
        self._provider.undo(key)


class HttpShipping:
    def __init__(self, url: str) -> None:
        self._provider = HttpProvider("the shipping provider", url)

    def arrange(self, key: str, method: str) -> Accepted | Refused:
        return self._provider.make(key, {"method": method})

    def cancel(self, key: str) -> None:
        self._provider.undo(key)
