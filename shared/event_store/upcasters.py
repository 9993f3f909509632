"""Old events made readable: each upcaster turns the data of one schema version into that of the next.

    UPCASTERS = {("ProductCreated", 1): lambda data: data | {"tax_class": "standard"}}

together with `schema_version = 2` on `ProductCreated` makes every stored version-1 event read as version 2. Stored
events are never rewritten.
"""

from collections.abc import Callable, Mapping
from typing import Any

Data = dict[str, Any]
Upcaster = Callable[[Data], Data]

UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}
