"""The one table of errors: the HTTP status and the code that a caller gets for each class of error.

It lies below the APIs because metrics, spans and the history of executions use the same codes.
"""

from shared.domain import errors

ERROR_CODES: dict[type[Exception], tuple[int, str]] = {
    errors.Invalid: (422, "INVALID_INPUT"),
    errors.NotFound: (404, "NOT_FOUND"),
    errors.Rejected: (409, "BUSINESS_RULE_VIOLATION"),
    errors.Conflict: (409, "CONFLICT"),
    errors.Unavailable: (503, "SERVICE_UNAVAILABLE"),
    errors.Unauthenticated: (401, "UNAUTHENTICATED"),
    errors.Forbidden: (403, "FORBIDDEN"),
    errors.TimedOut: (504, "TIMEOUT"),
}
"""HTTP status and code of each error and its subclasses."""


def status_and_code(error: BaseException) -> tuple[int, str]:
    """Return the HTTP status and code of an error: 500 and INTERNAL_ERROR for one that the table
    does not have.

    A group of errors counts as its first one.
    """
    if isinstance(error, BaseExceptionGroup):
        return status_and_code(error.exceptions[0])
    known = (ERROR_CODES[kind] for kind in type(error).__mro__ if kind in ERROR_CODES)
    return next(known, (500, "INTERNAL_ERROR"))


_FAULTS = ("INTERNAL_ERROR", "SERVICE_UNAVAILABLE", "TIMEOUT")  # of the shop, not of the caller


def gravity(code: str) -> tuple[int, str]:
    """Order codes so that a log line, which has room for one, names a fault of the shop if there is
    one."""
    return (_FAULTS.index(code) if code in _FAULTS else len(_FAULTS), code)
