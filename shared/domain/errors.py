"""The errors that a caller sees. shared/observability/error_codes.py has the HTTP status and code
of each."""

from collections.abc import Sequence

Path = Sequence[str | int]


class ShopError(Exception):
    """An answer, not a crash: the message is meant for the caller.

    `field`: the path of the faulty field in the command, e.g. `("items", 0, "unit_price")`;
    `("id",)` is the aggregate's own id; empty when the error is not about one field.
    """

    def __init__(self, message: str, field: Path = ()) -> None:
        super().__init__(message)
        self.message = message
        self.field = tuple(field)


class Invalid(ShopError):
    """The input can never work, whatever the state of the shop."""


class NotFound(ShopError):
    """The input names something that does not exist."""


class Rejected(ShopError):
    """A rule of the shop forbids the command in the present state."""


class NameTaken(Rejected):
    """A sibling already has the name."""


class ParentMissing(Rejected):
    """The parent category has been deleted."""


class StillInUse(Rejected):
    """The category still has products or subcategories."""


class CircularParent(Rejected):
    """A category cannot become its own ancestor."""


class Conflict(ShopError):
    """The request collides with another request."""


class ConcurrencyError(Conflict):
    """Another writer was faster; load again and decide again."""


class Unavailable(ShopError):
    """A dependency does not answer; the same call may work after `retry_after` seconds."""

    def __init__(self, message: str, field: Path = (), retry_after: float = 1.0) -> None:
        super().__init__(message, field)
        self.retry_after = retry_after


class Unauthenticated(ShopError):
    """The request needs a signed-in user."""


class Forbidden(ShopError):
    """The signed-in user has no permission for the request."""


class TimedOut(ShopError):
    """No answer came in time; the outcome is unknown. Retry under the same idempotency key."""
