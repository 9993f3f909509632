"""Value types: Money, the annotations that a decoder enforces, and pydantic's adapters."""

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Generic, TypeVar, get_args
from uuid import UUID

from iso4217 import Currency as IsoCurrency
from pydantic import AfterValidator, Field, GetCoreSchemaHandler, Strict, TypeAdapter
from pydantic_core import CoreSchema, core_schema

from shared.domain.errors import Invalid, Path

MAX_STOCK = 1_000_000_000
MAX_QUANTITY = 1_000_000
MAX_LINES = 100
MAX_AMOUNT = Decimal(1_000_000_000_000)
NIL = UUID(int=0)
"""The id of an aggregate that does not exist yet; RFC 9562 calls it the nil UUID."""

T = TypeVar("T")

_EXPONENTS: Mapping[str, int] = {c.code.upper(): c.exponent for c in IsoCurrency if c.exponent is not None}
_CONTROLS = frozenset({"Cc", "Cs"})  # Cs: half a surrogate pair, which no database can store
_NOT_IN_NAMES = _CONTROLS | {"Zl", "Zp"}
_INVISIBLE = _NOT_IN_NAMES | {"Zs", "Cf", "Mn", "Me"}  # not Cn: new emoji
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")  # letters and symbols that show nothing


def comparable(text: str) -> str:
    """Ignore case and width: "TEA" is "ｔｅａ". Folding may decompose, hence NFKC twice."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _normalised(value: str, longest: int) -> str:
    """Return the text in NFC and trimmed, or unchanged when it is much too long anyway."""
    return unicodedata.normalize("NFC", value).strip() if len(value) <= longest else value


def _has(text: str, categories: frozenset[str], allowed: str = "") -> bool:
    return any(unicodedata.category(c) in categories and c not in allowed for c in text)


def _name(value: str) -> str:
    text = _normalised(value, 1000)
    if not 1 <= len(text) <= 200:
        raise ValueError(f"must have 1 to 200 characters; got {len(text)}")
    if _has(text, _NOT_IN_NAMES):
        raise ValueError("must not contain control characters")
    if all(unicodedata.category(c) in _INVISIBLE or c in _FILLERS for c in text):
        raise ValueError("must contain a visible character")
    return text


def _text(value: str) -> str:
    text = _normalised(value, 6_000)  # Hangul: up to 3 letters join into one
    if len(text) > 2000:
        raise ValueError(f"must have at most 2,000 characters; got {len(text)}")
    if _has(text, _CONTROLS, allowed="\n\r\t"):
        raise ValueError("must not contain control characters")
    return text


def _reason(value: str) -> str:
    text = _text(value)
    if not text or _has(text, _CONTROLS):
        raise ValueError("must have 1 to 2,000 characters and no control characters")
    return text


def _token(value: str) -> str:
    if not value or value != value.strip() or _has(value, _NOT_IN_NAMES):
        raise ValueError("must not be empty, nor contain control characters or surrounding spaces")
    return value


def _amount(value: Decimal) -> Decimal:
    if not 0 <= value <= MAX_AMOUNT:
        raise ValueError(f"must be between 0 and {MAX_AMOUNT:,}; got {value:.10g}")
    return value.copy_abs()  # a price of -0 is 0; abs() would round to the context's precision


def _currency(value: str) -> str:
    if value not in _EXPONENTS:
        raise ValueError(f"must be an ISO 4217 code, e.g. JPY or USD; got {value!r:.20}")
    return value


Name = Annotated[str, AfterValidator(_name)]
"""1 to 200 characters after NFC and trimming, no control characters."""
Text = Annotated[str, AfterValidator(_text)]
"""Up to 2,000 characters after NFC and trimming; line breaks are allowed."""
Reason = Annotated[str, AfterValidator(_reason)]
"""1 to 2,000 characters on one line."""
Token = Annotated[str, Field(max_length=128), AfterValidator(_token)]
"""An identifier of another system (user, payment method): up to 128 characters, unchanged."""
Amount = Annotated[Decimal, AfterValidator(_amount)]
Currency = Annotated[str, AfterValidator(_currency)]
Quantity = Annotated[int, Strict(), Field(ge=1, le=MAX_QUANTITY)]
Stock = Annotated[int, Strict(), Field(ge=0, le=MAX_STOCK)]
StockDelta = Annotated[int, Strict(), Field(ge=-MAX_STOCK, le=MAX_STOCK)]


@dataclass(frozen=True)
class Money:
    """An amount in the currency's main unit (yen, dollars) with exactly the currency's decimals."""

    amount: Decimal
    currency: str = "JPY"

    @classmethod
    def of(cls, amount: Decimal, currency: str, field: Path = ()) -> "Money":
        """Never round: raise Invalid at `field` for more decimals than the currency has."""
        unit = Decimal(1).scaleb(-_EXPONENTS[currency])
        exact = amount.quantize(unit)
        if exact != amount:
            raise Invalid(f"{currency} allows {_EXPONENTS[currency]} decimals; got {amount}", field)
        return cls(exact, currency)

    def times(self, quantity: int) -> "Money":
        return Money(self.amount * quantity, self.currency)


ZERO = Money(Decimal(0))


class To(Generic[T]):
    """A new value for a field of an update. `To(None)` clears it; plain None leaves it as it is.

    A dataclass would not do: pydantic would expect an object with a field `value`.
    """

    def __init__(self, value: T) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, To) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"To({self.value!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        (inner,) = get_args(source)
        return core_schema.no_info_wrap_validator_function(
            lambda value, validate: value if isinstance(value, cls) else cls(validate(value)),
            handler.generate_schema(inner),
        )


adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)
"""Return pydantic's adapter of a type. It is cached: making one costs as much as a hundred uses."""
