"""Everything a caller can be told went wrong, and the one table of its HTTP status and GraphQL code."""

from collections.abc import Sequence

Path = Sequence[str | int]


class ShopError(Exception):
    """An answer, not a crash: the message is meant for the caller.

    `field`: where in the input the fault lies, e.g. `("items", 0, "quantity")`; empty when it is not about one field.
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
    """A rule of the shop forbids it in the present state."""


class NameTaken(Rejected):
    """Another sibling already has the name."""


class ParentMissing(Rejected):
    """The category it would belong to is gone."""


class StillInUse(Rejected):
    """Something still belongs to it."""


class CircularParent(Rejected):
    """A category can't become its own ancestor."""


class Conflict(ShopError):
    """It collides with something else that was asked for or done."""


class ConcurrencyError(Conflict):
    """Somebody else wrote first; load again and decide again."""


class Unavailable(ShopError):
    """Something this depends on does not answer; the same call may work after `retry_after` seconds."""

    def __init__(self, message: str, field: Path = (), retry_after: float = 1.0) -> None:
        super().__init__(message, field)
        self.retry_after = retry_after


class Unauthenticated(ShopError):
    """It needs somebody who is signed in."""


class Forbidden(ShopError):
    """Whoever is signed in may not do it."""


class TimedOut(ShopError):
    """No answer in time. It may have happened all the same: ask again under the same idempotency key."""
