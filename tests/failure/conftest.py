"""One shop for all tests of a module: what an earlier test broke has to have healed for the later ones."""

from collections.abc import Iterator

import pytest

from scripts.local.emulators import Emulators
from tests.failure.breakable_shop import BreakableShop


@pytest.fixture(scope="module")
def shop(emulators: Emulators, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BreakableShop]:
    home = tmp_path_factory.mktemp("breakable")
    for folder in (home, *home.parents[:2]):
        folder.chmod(0o755)  # PostgreSQL runs as another user where we are root
    shop = BreakableShop(home, emulators)
    yield shop
    shop.close()
