"""Check the name of something new, and derive its other names."""

import builtins
import keyword
import re
from dataclasses import dataclass

from pydantic.alias_generators import to_camel, to_pascal

LONGEST = 40
_IRREGULAR = {
    "set": "set", "put": "put", "cut": "cut", "hit": "hit", "let": "let", "split": "split", "reset": "reset",
    "send": "sent", "resend": "resent", "sell": "sold", "buy": "bought", "pay": "paid", "make": "made", "take": "taken",
    "give": "given", "begin": "begun", "hold": "held", "find": "found", "tell": "told", "keep": "kept", "hide": "hidden",
    "write": "written", "choose": "chosen", "freeze": "frozen", "lend": "lent", "leave": "left", "bring": "brought",
    "ship": "shipped", "stop": "stopped", "plan": "planned", "drop": "dropped", "swap": "swapped", "refer": "referred",
    "wrap": "wrapped", "flag": "flagged", "tag": "tagged", "ban": "banned", "pin": "pinned", "scan": "scanned",
}  # fmt: skip
_RESERVED = {"class", "type", "match", "case", "self", "id", "main", "test", "query", "mutation", "subscription"}


class BadName(Exception):
    """The name can't be used; the message says why and what is allowed."""


@dataclass(frozen=True)
class Names:
    """`name`: set_minimum_stock. `kind`: SetMinimumStock. `camel`: setMinimumStock. `event`:
    MinimumStockSet, in the past tense. `flag`: minimum_stock_set."""

    name: str
    subject: str

    @property
    def kind(self) -> str:
        return to_pascal(self.name)

    @property
    def camel(self) -> str:
        return to_camel(self.name)

    @property
    def words(self) -> str:
        return self.name.replace("_", " ")

    @property
    def sentence(self) -> str:
        return self.words.capitalize()

    @property
    def flag(self) -> str:
        verb, _, rest = self.name.partition("_")
        return f"{rest or self.subject}_{past(verb)}"

    @property
    def event(self) -> str:
        return to_pascal(self.flag)


def past(verb: str) -> str:
    """Return the past participle of a verb: reserve, reserved; cancel, cancelled."""
    if verb in _IRREGULAR:
        return _IRREGULAR[verb]
    if verb.endswith("e"):
        return f"{verb}d"
    if re.search(r"[^aeiou]y$", verb):
        return f"{verb[:-1]}ied"
    return f"{verb}led" if re.search(r"[aeiou]l$", verb) and not re.search(r"[aeiou]{2}l$", verb) else f"{verb}ed"


def checked(name: str, taken: set[str]) -> str:
    """Return the name. Raise BadName unless it is free, and a name for a folder, a Cloud Run
    service, Python and GraphQL."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name, re.ASCII):
        allowed = "small letters a to z, digits and single underscores between them, beginning with a letter"
        raise BadName(f"{name!r} is no name: use {allowed}, such as set_minimum_stock")
    if len(name) > LONGEST:
        raise BadName(f"{name!r} has {len(name)} characters; at most {LONGEST} are allowed")
    if keyword.iskeyword(name) or keyword.issoftkeyword(name) or name in _RESERVED or hasattr(builtins, name):
        raise BadName(f"{name!r} is a reserved word of Python or GraphQL; use two words, such as set_minimum_stock")
    if name in taken:
        raise BadName(f"{name!r} exists already; choose another name")
    return name
