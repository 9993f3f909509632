"""The shop that the tests of this folder use."""

from tests.fakes import movable_clock
from tests.shop_in_memory import plain_logs, provider, shared_shop, shop, shop_settings

__all__ = ["movable_clock", "plain_logs", "provider", "shared_shop", "shop", "shop_settings"]
