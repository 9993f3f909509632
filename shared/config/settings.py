"""All settings, read once from the environment. A variable is named like its field, in capitals."""

import os
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Settings:
    """`profile`: `engines` uses PostgreSQL, Pub/Sub and Firestore; `postgres` only the first, with the rest in this
    process; `memory` none. `project_id`: of Google Cloud and Firebase; any name locally. `{function}` in a URL stands
    for a function's name. `sign_in_required`: in the cloud it always is; elsewhere whoever does not sign in may do
    everything unless this is set. `admin_email`: who signs in with it, verified, is admin. `caller_email`: the service
    account that alone may call a command function in the cloud. `saga_pace`: multiplies every deadline of a saga, below
    1 to see them pass sooner. `request_timeout_seconds`: for a whole GraphQL request; `command_timeout_seconds`: for
    one call of a command function, which may be made twice; `handler_timeout_seconds`: for what Pub/Sub or a schedule
    calls. `breaker_fail_max`: failures in a row that open a circuit breaker; `breaker_reset_seconds`: how long it stays
    open. `consistency_wait_seconds`: for read models that lag behind what a client has written. `trace_sample_ratio`:
    how many of all requests are traced, where traces go anywhere. `health_check_seconds`: for each check of a health
    report. `keep_history_days`: after so many days expire_records deletes the histories of ended sagas, and dead
    letters that were retried or discarded. `heartbeat_seconds`: between signs of life in a subscription that has nothing
    to say. `dashboard_seconds`: between two looks of a dashboard that is subscribed to. `topology_seconds`: for which
    what a function has said of itself is kept, so that it is not started for each look.
    `subscription_max_seconds`: after which a subscription ends and the client asks again; below the time that the
    platform gives a request.

    In a URL, `{service}` stands for the function's name with hyphens, as services have in the cloud. `database_iam`: sign
    in to PostgreSQL with a token of the process's service account in place of a password. `database_user`: the functions'
    users there, with `{service}` too; migrating gives them the roles that the manifest says; none when empty.
    `payment_authorization`, `shipping_authorization`: what the provider is sent as the header Authorization; `id-token`
    for a token of the process's service account.

    Limits for clients; the README's table says what happens beyond each. `max_body_bytes`: of one request.
    `max_query_characters`, `..._tokens`, `..._fields`, `..._fragments` (spreads): of a document as it is written.
    `max_query_depth`, `..._aliases`, `..._cost`: of the operation that runs, fragments written out; its cost is the
    number of fields that the answer may have, every list counted as long as its limit, and a tenth of the
    documents that an offset skips or a search may look at. `max_list_limit`,
    `max_list_offset`: the greatest arguments `limit` (which schema.graphql lets be 100 when left out) and `offset`.
    `max_search_characters`: of a search term; `max_search_documents`: looked at for one search. `introspection`:
    whether the schema may be asked for. `rate_limit_signed_in`: GraphQL requests per minute and user,
    `rate_limit_anonymous`: per minute and client address; 0 is no limit. `max_subscribers`: of one process
    at one time, `max_subscriptions_per_client`: of these of one user or client address, 0 is no limit;
    `subscriber_buffer`: events that may wait for one of them. `trusted_proxies`: how many entries at the end
    of X-Forwarded-For were written by proxies of ours; None is 1 in the cloud and 0 elsewhere.

    `monitoring_endpoint`: host:port of a Cloud Monitoring without sign-in that report_metrics writes to, for tests; in the
    cloud it writes to Google's.
    """

    profile: Literal["memory", "postgres", "engines"] = "engines"
    project_id: str = "shop-local"
    event_store_url: str = "postgresql://localhost/event_store"
    command_database_url: str = "postgresql://localhost/command"
    pool_size: Positive = 4
    database_iam: bool = False
    database_user: str = ""
    command_url: str = "http://127.0.0.1:8081/{function}"
    query_url: str = "http://127.0.0.1:8082/{function}"
    command_timeout_seconds: Seconds = 10
    sign_in_required: bool = False
    admin_email: str = ""
    caller_email: str = ""
    payment_url: str = "http://127.0.0.1:8081/sandbox_provider/payments"
    payment_authorization: str = ""
    shipping_url: str = "http://127.0.0.1:8081/sandbox_provider/shipments"
    shipping_authorization: str = ""
    saga_pace: Seconds = 1.0
    sandbox_database: str = ":memory:"
    console_directory: str = ""
    monitoring_endpoint: str = ""
    request_timeout_seconds: Seconds = 25
    handler_timeout_seconds: Seconds = 50
    breaker_fail_max: Positive = 10
    breaker_reset_seconds: Seconds = 5
    consistency_wait_seconds: Seconds = 5
    trace_sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    health_check_seconds: Seconds = 2
    keep_history_days: NotNegative = 90
    keep_executions_days: NotNegative = 14
    history_sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    heartbeat_seconds: Seconds = 12
    dashboard_seconds: Seconds = 2
    topology_seconds: Seconds = 15
    subscription_max_seconds: Seconds = 3_300
    max_body_bytes: Positive = 1_000_000
    max_query_characters: Positive = 50_000
    max_query_tokens: Positive = 4_000
    max_query_fields: Positive = 500
    max_query_fragments: NotNegative = 50
    max_query_depth: Positive = 10
    max_query_aliases: NotNegative = 50
    max_query_cost: Positive = 50_000
    max_list_limit: Annotated[int, Field(ge=100)] = 1_000
    max_list_offset: NotNegative = 100_000
    max_search_characters: Positive = 200
    max_search_documents: Positive = 2_000
    max_subscribers: Positive = 800
    max_subscriptions_per_client: NotNegative = 50
    subscriber_buffer: Positive = 1_000
    introspection: bool = True
    rate_limit_signed_in: NotNegative = 1_000
    rate_limit_anonymous: NotNegative = 100
    trusted_proxies: NotNegative | None = None


@lru_cache
def settings() -> Settings:
    """Raises pydantic's ValidationError, which names the variable, when one is malformed."""
    given = {
        field.name: os.environ[field.name.upper()] for field in fields(Settings) if field.name.upper() in os.environ
    }
    return TypeAdapter(Settings).validate_python(given)


def url_of(template: str, function: str) -> str:
    """Where a function is called: the settings `command_url` and `query_url` with its name in them."""
    return template.format(function=function, service=service_name(function))


def service_name(function: str) -> str:
    """Of names in the cloud, which have hyphens where ours have underscores."""
    return function.replace("_", "-")
