"""Bring both PostgreSQL databases up to date."""

from shared.resilience.postgres import COMMAND_DATABASE, EVENT_STORE, migrate
from shared.runtime.settings import Settings, settings


def migrate_all(settings: Settings) -> list[str]:
    """The names of the files that were applied now."""
    return [
        *migrate(settings.event_store_url, EVENT_STORE),
        *migrate(settings.command_database_url, COMMAND_DATABASE),
    ]


if __name__ == "__main__":
    print("\n".join(migrate_all(settings())) or "up to date")
