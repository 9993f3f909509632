from tests.shop_in_memory import plain_logs, provider, shop, shop_settings

__all__ = ["plain_logs", "provider", "shop", "shop_settings"]
