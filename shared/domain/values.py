"""Value types: Money, the annotations that a decoder enforces, and pydantic's adapters."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Generic, TypeVar, get_args
from uuid import UUID

from pydantic import AfterValidator, GetCoreSchemaHandler, Strict, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

from shared.domain.errors import Invalid, Path
from shared.domain.faults import HALF_A_PAIR, at, between, length, must_be

MAX_STOCK = 1_000_000_000
MAX_QUANTITY = 1_000_000
MAX_LINES = 100
MAX_AMOUNT = Decimal(1_000_000_000_000)
NIL = UUID(int=0)
"""The id of an aggregate that does not exist yet; RFC 9562 calls it the nil UUID."""

T = TypeVar("T")

_CONTROLS = frozenset({"Cc", "Cs"})  # Cs: half a surrogate pair, which no database can store
_NOT_IN_NAMES = _CONTROLS | {"Zl", "Zp"}
_INVISIBLE = _NOT_IN_NAMES | {"Zs", "Cf", "Mn", "Me"}  # not Cn: new emoji
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")  # letters and symbols that show nothing

_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Unicode's Default_Ignorable_Code_Point (UAX #44): spaces without width, joiners, variation
selectors, ..."""
_BIDIRECTIONAL = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Unicode's Bidi_Control: they make a name read differently from what it is."""
_INVISIBLE_ENDS = "\u00ad\u200b\u2060\ufeff"
_ACCENTS = re.compile("[\u0300-\u036f]")  # not those of other scripts, which make other letters: か and が
_WITHOUT_STROKES = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ŧ": "t", "ı": "i", "æ": "ae", "œ": "oe"})


def comparable(text: str) -> str:
    """Return the form in which siblings' names are compared, Unicode's NFKC_Casefold.

    It ignores case, width and characters that show nothing: "TEA" is "ｔｅ\\u200bａ". Folding may
    decompose, hence NFKC twice.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFKC", _IGNORABLE.sub("", folded)).strip()


def searchable(text: str) -> str:
    """Return the form in which texts are searched: comparable, and without the accents of Latin,
    Greek and Cyrillic letters, so that "creme" finds "Crème", "soren" finds "Søren" and "istanbul"
    finds "İSTANBUL"."""
    plain = _ACCENTS.sub("", unicodedata.normalize("NFD", comparable(text))).translate(_WITHOUT_STROKES)
    return unicodedata.normalize("NFC", plain)


def _normalised(value: str, longest: int) -> str:
    """Return the text in NFC and trimmed, or unchanged when it is much too long anyway."""
    return unicodedata.normalize("NFC", value).strip() if len(value) <= longest else value


def _require_printable(text: str, refused: frozenset[str], allowed: str = "") -> None:
    """Raise ValueError for a character of these categories that is not `allowed`, and for half of a
    surrogate pair."""
    found = next((c for c in text if unicodedata.category(c) in refused and c not in allowed), None)
    if found and unicodedata.category(found) == "Cs":
        raise ValueError(HALF_A_PAIR)
    if found:
        raise ValueError(f"must not contain control characters; got U+{ord(found):04X}")


def _require_length(text: str, least: int, most: int) -> None:
    if not least <= len(text) <= most:
        raise ValueError(length(least, most, len(text)))


def _known_name(value: str) -> str:
    text = _normalised(value, 1000)
    _require_length(text, 1, 200)
    _require_printable(text, _NOT_IN_NAMES)
    if all(unicodedata.category(c) in _INVISIBLE or c in _FILLERS for c in text):
        raise ValueError("must contain a visible character")
    return text


def _name(value: str) -> str:
    text = _known_name(value)
    if _BIDIRECTIONAL.search(text):
        raise ValueError("must not contain controls of the writing direction (U+061C, U+200E, U+202A to U+202E, ...)")
    if text != text.strip(_INVISIBLE_ENDS):
        raise ValueError("must not begin or end with an invisible character (U+FEFF, U+200B, ...)")
    return text


def _text(value: str) -> str:
    text = _normalised(value, 6_000)  # Hangul: up to 3 letters join into one
    _require_length(text, 0, 2000)
    _require_printable(text, _CONTROLS, allowed="\n\r\t")
    return text


def _reason(value: str) -> str:
    text = _text(value)
    _require_length(text, 1, 2000)
    _require_printable(text, _CONTROLS)
    return text


def _token(value: str) -> str:
    _require_length(value, 1, 128)
    _require_printable(value, _NOT_IN_NAMES)
    if value != value.strip():
        raise ValueError("must not begin or end with a space")  # not the value: it may be a card number
    return value


def in_range(least: int, most: int) -> AfterValidator:
    """Return the annotation of a number between two bounds, both included."""

    def check(value: int) -> int:
        if not least <= value <= most:
            raise ValueError(between(least, most, value))
        return value

    return AfterValidator(check)


def of_length(least: int, most: int) -> AfterValidator:
    """Return the annotation of a list with a bounded number of items."""

    def check(value: tuple[Any, ...]) -> tuple[Any, ...]:
        if not least <= len(value) <= most:
            raise ValueError(length(least, most, len(value), "items"))
        return value

    return AfterValidator(check)


def _amount(value: Decimal) -> Decimal:
    if not 0 <= value <= MAX_AMOUNT:
        raise ValueError(between(0, MAX_AMOUNT, value))
    return value.copy_abs()  # a price of -0 is 0; abs() would round to the context's precision


@cache
def _exponents() -> Mapping[str, int]:
    """Return the number of decimals of each currency of ISO 4217."""
    from iso4217 import Currency as IsoCurrency  # here, because it parses a table when it is imported

    return {c.code.upper(): c.exponent for c in IsoCurrency if c.exponent is not None}


def _currency(value: str) -> str:
    if value not in _exponents():
        raise ValueError(must_be("an ISO 4217 code such as JPY or USD", value))
    return value


Name = Annotated[str, AfterValidator(_name)]
"""1 to 200 characters after NFC and trimming; neither controls nor invisible characters at the
ends."""
KnownName = Annotated[str, AfterValidator(_known_name)]
"""A name that exists already, so perhaps one that `Name` no longer takes: compare it, don't store
it."""
Text = Annotated[str, AfterValidator(_text)]
"""Up to 2,000 characters after NFC and trimming; line breaks are allowed."""
Reason = Annotated[str, AfterValidator(_reason)]
"""1 to 2,000 characters on one line."""
Token = Annotated[str, AfterValidator(_token)]
"""An identifier of another system (user, payment method): up to 128 characters, unchanged."""
Amount = Annotated[Decimal, AfterValidator(_amount)]
Currency = Annotated[str, AfterValidator(_currency)]
Quantity = Annotated[int, Strict(), in_range(1, MAX_QUANTITY)]
Stock = Annotated[int, Strict(), in_range(0, MAX_STOCK)]
StockDelta = Annotated[int, Strict(), in_range(-MAX_STOCK, MAX_STOCK)]


@dataclass(frozen=True)
class Money:
    """An amount in the currency's main unit (yen, dollars) with exactly the currency's decimals."""

    amount: Decimal
    currency: str = "JPY"

    @classmethod
    def of(cls, amount: Decimal, currency: str, field: Path = ()) -> "Money":
        """Never round: raise Invalid at `field` for more decimals than the currency has."""
        decimals = _exponents()[currency]
        unit = Decimal(1).scaleb(-decimals)
        exact = amount.quantize(unit)
        if exact != amount:
            raise Invalid(f"{currency} allows {decimals} decimals; got {amount}", field)
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


class MalformedData(ValueError):
    """Stored data are not of their type."""


def from_store(kind: type[Any], data: Any, what: str) -> Any:
    """Return stored data as this type. Raise MalformedData, which names the wrong fields of `what`
    without their values: it is logged, and kept where no erasure looks."""
    try:
        return adapter(kind).validate_python(data)
    except ValidationError as error:
        wrong = [at(one["loc"], one["type"]) for one in error.errors(include_url=False, include_input=False)]
    raise MalformedData(f"{what} cannot be read: {', '.join(wrong[:5])}")
