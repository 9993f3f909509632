"""The shop that the tests of this folder use."""

from tests.shop_in_memory import plain_logs, provider, shared_shop, shop, shop_settings

__all__ = ["plain_logs", "provider", "shared_shop", "shop", "shop_settings"]
