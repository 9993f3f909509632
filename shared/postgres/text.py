"""Texts as PostgreSQL can store them."""

import json
from collections.abc import Mapping
from math import isfinite


def storable(text: str) -> str:
    """Return the text with U+FFFD for U+0000 and `?` for lone surrogates, which PostgreSQL cannot
    store."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def storable_json(value: object) -> str:
    """Return the value as JSON in which every text is `storable`. Ids, times and other values that
    JSON lacks become text, also NaN and infinity. Raise RecursionError when it is nested too
    deeply."""
    return json.dumps(_storable_value(value), ensure_ascii=False)


def _storable_value(value: object) -> object:
    match value:
        case None | bool() | int():
            return value
        case Mapping():
            return {storable(str(name)): _storable_value(one) for name, one in value.items()}
        case list() | tuple():
            return [_storable_value(one) for one in value]
        case float() if isfinite(value):
            return value
        case _:
            return storable(str(value))
