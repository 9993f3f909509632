"""What several kinds of new things have in common: an event, a field of a state."""

import re
import textwrap

from scripts.local.edits import CannotEdit, Edits
from scripts.local.names import Names

EVENTS = "shared/domain/events.py"
_SHAPES = "tests/structure/test_snapshots.py"


def new_event(edits: Edits, names: Names, aggregate: str, before: str, union: str) -> None:
    """Add an event with nothing but the aggregate's id, before another one, and to the union of its
    aggregate's changes."""
    anchor = f"@dataclass(frozen=True)\nclass {before}:"
    edits.before(EVENTS, anchor, f"@dataclass(frozen=True)\nclass {names.event}:\n    {aggregate}_id: UUID\n\n\n")
    edits.sub(EVENTS, union, rf"\1 | {names.event}")


def product_case(edits: Edits, names: Names) -> None:
    """Let the matches that have nothing to do for the event of a product know it."""
    edits.add_to_case("shared/domain/product.py", "            return None\n\n", f"events.{names.event}()")
    edits.before(
        "functions/projections/project_products/main.py",
        "        case e.ProductDeleted():\n",
        f"        case e.{names.event}():\n            return product\n",
    )
    edits.add_to_case(
        "functions/projections/project_categories/main.py", "            return member", f"e.{names.event}()"
    )


def new_state_field(edits: Edits, aggregate: str, field: str, undocumented: str | None) -> None:
    """Add a field with a default to the end of the aggregate's state, which changes its
    snapshots. `undocumented`: why no document has it; None: one has."""
    file, kind, constant = f"shared/domain/{aggregate}.py", aggregate.capitalize(), aggregate.upper()
    new_field(edits, file, kind, field)
    schema = _bump(edits, file, constant)
    shape = " ".join(_fields(edits.text(file), kind))
    lines = [f'"{line}"' for line in textwrap.wrap(shape, 90, drop_whitespace=False)]
    row = f'    ("{aggregate}", {schema}): {(chr(10) + "    ").join(lines)},\n'
    edits.before(_SHAPES, '}\n"""The fields of each aggregate', row)
    if undocumented:
        reason = f'    "{kind}.{field.partition(":")[0]}": "{undocumented}",\n'
        edits.before("tests/structure/test_fields.py", "}\nNOT_IN_THE_SCHEMA", reason)


def new_field(edits: Edits, file: str, kind: str, field: str) -> None:
    """Add a field to the end of a dataclass."""
    edits.sub(file, rf"^class {kind}:\n(?:    .*\n|\n(?=    \w+: ))*", rf"\g<0>    {field}\n")


def _bump(edits: Edits, file: str, constant: str) -> int:
    """Give the aggregate the next snapshot_schema and return it."""
    found = re.search(rf"^{constant} = Aggregate\((.*?)(?:, snapshot_schema=(\d+))?\)$", edits.text(file), re.MULTILINE)
    if found is None:
        raise CannotEdit(f"{file}: {constant} = Aggregate(...) is not on one line")
    schema = int(found[2] or 1) + 1
    edits.before(file, found[0], "")
    edits.sub(file, re.escape(found[0]), f"{constant} = Aggregate({found[1]}, snapshot_schema={schema})")
    return schema


def _fields(text: str, kind: str) -> list[str]:
    body = re.search(rf"^class {kind}:\n((?:    .*\n|\n(?=    \S))*)", text, re.MULTILINE)
    return re.findall(r"^    (\w+): ", body[1], re.MULTILINE) if body else []
