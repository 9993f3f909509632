"""All settings, read once from the environment. A variable is named like its field, in capitals."""

import os
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Literal

from pydantic import TypeAdapter


@dataclass(frozen=True)
class Settings:
    """`profile`: `engines` uses PostgreSQL, Pub/Sub and Firestore; `postgres` only the first, with the rest in this
    process; `memory` none. `project_id`: of Google Cloud and Firebase; any name locally. `{function}` in a URL stands for
    a function's name. `max_body_bytes`: larger requests are refused. `max_query_cost`: fields that a GraphQL answer may
    have, every list counted as long as its limit. `sign_in_required`: in the cloud it always is; elsewhere whoever does
    not sign in may do everything unless this is set. `admin_email`: who signs in with it, verified, is admin.
    `caller_email`: the service account that alone may call a command function in the cloud. `saga_pace`: multiplies
    every deadline of a saga, below 1 to see them pass sooner. `request_timeout_seconds`: for a whole GraphQL request;
    `command_timeout_seconds`: for one call of a command function, which may be made twice; `handler_timeout_seconds`: for
    what Pub/Sub or a schedule calls. `breaker_fail_max`: failures in a row that open a circuit breaker;
    `breaker_reset_seconds`: how long it stays open. `keep_history_days`: after so many days expire_records deletes the
    histories of ended sagas, and dead letters that were retried or discarded.
    """

    profile: Literal["memory", "postgres", "engines"] = "engines"
    project_id: str = "shop-local"
    event_store_url: str = "postgresql://localhost/event_store"
    command_database_url: str = "postgresql://localhost/command"
    pool_size: int = 4
    command_url: str = "http://127.0.0.1:8081/{function}"
    query_url: str = "http://127.0.0.1:8082/{function}"
    command_timeout_seconds: float = 10
    sign_in_required: bool = False
    admin_email: str = ""
    caller_email: str = ""
    payment_url: str = "http://127.0.0.1:8081/sandbox_provider/payments"
    shipping_url: str = "http://127.0.0.1:8081/sandbox_provider/shipments"
    saga_pace: float = 1.0
    sandbox_database: str = ":memory:"
    console_directory: str = ""
    request_timeout_seconds: float = 25
    handler_timeout_seconds: float = 50
    breaker_fail_max: int = 10
    breaker_reset_seconds: float = 5
    keep_history_days: int = 90
    max_body_bytes: int = 1_000_000
    max_query_depth: int = 10
    max_query_aliases: int = 50
    max_query_cost: int = 50_000


@lru_cache
def settings() -> Settings:
    """Raises pydantic's ValidationError, which names the variable, when one is malformed."""
    given = {
        field.name: os.environ[field.name.upper()] for field in fields(Settings) if field.name.upper() in os.environ
    }
    return TypeAdapter(Settings).validate_python(given)
