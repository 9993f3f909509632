"""One shop for all tests of a module: what an earlier test broke has to have healed for the later
ones.

`ENVIRONMENT` of the module: settings of its own.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.local.emulators import Emulators
from tests.failure.breakable_shop import BreakableShop


@pytest.fixture(scope="module")
def shop(request: pytest.FixtureRequest, emulators: Emulators) -> Iterator[BreakableShop]:
    # Not pytest's own folder: PostgreSQL runs as another user where we are root, and every pytest
    # closes that one again.
    with tempfile.TemporaryDirectory(prefix="breakable-shop-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        shop = BreakableShop(home, emulators, **getattr(request.module, "ENVIRONMENT", {}))
        try:
            yield shop
        finally:
            shop.close()
