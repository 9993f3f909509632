"""The shop that the tests of this folder use."""

from tests.shop_in_memory import provider, shop, shop_settings

__all__ = ["provider", "shop", "shop_settings"]
