"""Value types: Money, annotations that the edge enforces, and the decoding of JSON that enforces them, once."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar, get_args

from iso4217 import Currency as IsoCurrency
from pydantic import AfterValidator, Field, GetCoreSchemaHandler, Strict, TypeAdapter
from pydantic_core import CoreSchema, core_schema

from shared.domain.errors import Invalid, Path

MAX_STOCK = 1_000_000_000
MAX_QUANTITY = 1_000_000
MAX_LINES = 100
MAX_AMOUNT = Decimal(1_000_000_000_000)

T = TypeVar("T")

_EXPONENTS: Mapping[str, int] = {c.code.upper(): c.exponent for c in IsoCurrency if c.exponent is not None}


def _normalised(value: str, longest: int) -> str:
    """After NFC and trimming, unless it is far too long anyhow: nobody needs a novel normalised."""
    return unicodedata.normalize("NFC", value).strip() if len(value) <= longest else value


def _name(value: str) -> str:
    text = _normalised(value, 1000)
    if not 1 <= len(text) <= 200:
        raise ValueError("must have 1 to 200 characters")
    if any(unicodedata.category(c) in _NOT_IN_NAMES for c in text):
        raise ValueError("must not contain control characters")
    if all(unicodedata.category(c) in _INVISIBLE or c in _FILLERS for c in text):
        raise ValueError("must contain a visible character")
    return text


def _text(value: str) -> str:
    text = _normalised(value, 10_000)
    if len(text) > 2000:
        raise ValueError("must have at most 2,000 characters")
    if any(unicodedata.category(c) in _CONTROLS and c not in "\n\r\t" for c in text):
        raise ValueError("must not contain control characters")
    return text


def _reason(value: str) -> str:
    text = _text(value)
    if not text or any(unicodedata.category(c) in _CONTROLS for c in text):
        raise ValueError("must have 1 to 2,000 characters and no control characters")
    return text


def _token(value: str) -> str:
    if any(unicodedata.category(c) in _NOT_IN_NAMES for c in value) or value != value.strip() or not value:
        raise ValueError("must not be empty, nor contain control characters or surrounding spaces")
    return value


def _amount(value: Decimal) -> Decimal:
    if not 0 <= value <= MAX_AMOUNT:
        raise ValueError(f"must be from 0 to {MAX_AMOUNT}")
    return value.copy_abs()  # a price of -0 is 0; abs() would round to the context's precision


def _currency(value: str) -> str:
    if value not in _EXPONENTS:
        raise ValueError("must be an ISO 4217 code such as JPY, USD or EUR")
    return value


_CONTROLS = frozenset({"Cc", "Cs"})  # Cs: half a surrogate pair, which no database can store
_NOT_IN_NAMES = _CONTROLS | {"Zl", "Zp"}
_INVISIBLE = _NOT_IN_NAMES | {"Zs", "Cf", "Mn", "Me"}  # not Cn: an emoji newer than this Python's tables
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")  # letters and symbols that show nothing

Name = Annotated[str, AfterValidator(_name)]
"""1 to 200 characters after NFC and trimming, no control characters."""
Text = Annotated[str, AfterValidator(_text)]
"""Up to 2,000 characters after NFC and trimming; line breaks are allowed."""
Reason = Annotated[str, AfterValidator(_reason)]
"""1 to 2,000 characters on one line."""
Token = Annotated[str, Field(max_length=128), AfterValidator(_token)]
"""An identifier from elsewhere (user, payment method): up to 128 characters, taken as it is."""
Amount = Annotated[Decimal, AfterValidator(_amount)]
Currency = Annotated[str, AfterValidator(_currency)]
Quantity = Annotated[int, Strict(), Field(ge=1, le=MAX_QUANTITY)]
Stock = Annotated[int, Strict(), Field(ge=0, le=MAX_STOCK)]
StockDelta = Annotated[int, Strict(), Field(ge=-MAX_STOCK, le=MAX_STOCK)]


@dataclass(frozen=True)
class Money:
    """An amount in the currency's main unit (yen, dollars), carrying exactly the currency's decimals."""

    amount: Decimal
    currency: str = "JPY"

    @classmethod
    def of(cls, amount: Decimal, currency: str, field: Path = ()) -> "Money":
        """Round nothing: an amount with more decimals than the currency has is `Invalid` at `field`."""
        unit = Decimal(1).scaleb(-_EXPONENTS[currency])
        exact = amount.quantize(unit)
        if exact != amount:
            raise Invalid(f"{currency} has {_EXPONENTS[currency]} decimals, {amount} has more", field)
        return cls(exact, currency)

    def times(self, quantity: int) -> "Money":
        return Money(self.amount * quantity, self.currency)


class To(Generic[T]):
    """A field of an update that was given, as opposed to None for one left alone: `To(None)` clears it.

    No dataclass, because pydantic would then expect an object with a field `value` instead of the value.
    """

    __match_args__ = ("value",)

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


_adapters: dict[Any, TypeAdapter[Any]] = {}


def adapter(kind: Any) -> TypeAdapter[Any]:
    """pydantic's adapter of a type, made once: making one takes longer than using it a hundred times."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]
