"""Errors as clients see them: a message, a code, the field at fault, and never what happened inside."""

from typing import Any

import structlog
from graphql import GraphQLError

from shared.domain.errors import ShopError, Unavailable, classify

_log = structlog.get_logger()


def formatted(error: GraphQLError) -> dict[str, Any]:
    """An error without a path is about the request itself: syntax, validation, variables."""
    plain = dict(error.formatted)
    original = error.original_error
    if (
        error.path is None and original is not None and not isinstance(original, GraphQLError)
    ):  # such as an integer of thousands of digits
        return plain | {
            "message": "the query holds a value that can't be read",
            "extensions": {"code": "INVALID_INPUT"},
        }
    if original is None or isinstance(original, GraphQLError):
        return plain | {"extensions": {"code": "INVALID_INPUT"} | dict(error.extensions or {})}
    _, code = classify(original)
    if not isinstance(original, ShopError):
        _log.error("failed", path=error.path, exc_info=original)
        return plain | {"message": "something went wrong on our side", "extensions": {"code": code}}
    field = {"field": list(original.field)} if original.field else {}
    wait = {"retryAfter": original.retry_after} if isinstance(original, Unavailable) else {}
    return plain | {"message": original.message, "extensions": {"code": code} | field | wait}
