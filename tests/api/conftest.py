"""The shop that the tests of this folder use."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.fakes import movable_clock
from tests.shop_in_memory import ShopInMemory, plain_logs, provider, served, shared_shop, shop, shop_settings

__all__ = ["movable_clock", "plain_logs", "provider", "services", "shared_shop", "shop", "shop_settings"]


@pytest.fixture
def services(shop: ShopInMemory) -> Iterator[ShopInMemory]:
    """The shop with its functions on ports of their own, where serviceHealth asks them."""
    with served("command") as command, served("query") as query:
        shop.engines.settings = replace(
            shop.engines.settings, command_url=f"{command}/{{function}}", query_url=f"{query}/{{function}}"
        )
        yield shop
