"""All settings, read once from the environment. A variable has its field's name in capitals."""

import os
import re
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from shared.domain.faults import first_fault

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegativeSeconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Ratio = Annotated[float, Field(ge=0, le=1)]

_ORIGIN = re.compile(r"https?://([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?", re.ASCII)
_DEFAULT_PORTS = re.compile(r"http:.*:80|https:.*:443")


def _origins(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the origins in a text, separated by spaces or commas. Raise ValueError for what no
    browser sends as Origin."""
    named = tuple(value.replace(",", " ").split()) if isinstance(value, str) else value
    for origin in named:
        if not _ORIGIN.fullmatch(origin) or _DEFAULT_PORTS.fullmatch(origin):
            raise ValueError(
                "must be origins as browsers send them: http:// or https://, the host in lower case, a port only if it"
                " is not the usual one, no slash at the end, for example https://shop.example.com or"
                f" http://localhost:3000; name each one, without * and null; got {origin!r:.100}"
            )
    return named


@dataclass(frozen=True, eq=False)  # so that its hash, of a key in caches, takes no time
class Settings:
    """In a URL and in `database_user`, `{function}` stands for a function's name and `{service}`
    for the same name with hyphens, as Cloud Run services have it."""

    # Engines and functions
    profile: Literal["memory", "postgres", "engines"] = "engines"  # real: none; PostgreSQL; also Pub/Sub and Firestore
    project_id: str = "shop-local"  # of Google Cloud and Firebase; any name locally
    event_store_url: str = "postgresql://localhost/event_store"  # the PostgreSQL database of events
    command_database_url: str = "postgresql://localhost/command"  # that of sagas, dead letters and executions
    pool_size: Positive = 4  # connections per database
    database_iam: bool = False  # sign in to PostgreSQL with a token of the service account, not with a password
    database_ca: str = ""  # PEM certificates of the CA that the server must have one of; empty: as the URL says
    # The Cloud KMS key, projects/P/locations/L/keyRings/R/cryptoKeys/K, that protects the keys of
    # persons; empty: they are stored as they are, which is refused in the cloud
    wrapping_key: str = ""
    database_user: str = ""  # of a function, with {service}: migrating gives it the manifest's roles; empty: none
    command_url: str = "http://127.0.0.1:8081/{function}"  # of the functions of the service `command`
    query_url: str = "http://127.0.0.1:8082/{function}"  # of those of the service `query`
    console_directory: str = ""  # of the built console's files; empty: there is no console
    log_folder: str = ""  # of the services' log files, which the console names; empty: there are none
    traces_url: str = ""  # of a page with the spans of an order, with {order} in it; empty: the console links to none
    environment: Literal["LOCAL", "STAGING", "PRODUCTION"] = "LOCAL"  # which the console shows
    monitoring_endpoint: str = ""  # host:port of a Cloud Monitoring without sign-in, for tests; Google's in the cloud

    # Identity
    sign_in_required: bool = False  # always in the cloud; elsewhere, when false, an anonymous client may do everything
    firebase_api_key: str = ""  # with which the console signs in; not a secret; empty: it offers no sign-in by Firebase
    google_sign_in: bool = False  # whether it also offers Google accounts: Identity Platform must have an OAuth client
    admin_email: str = ""  # the user of the Google account with this verified address is an admin
    # The origins, separated by spaces, of web pages that may call the graphql function, besides its
    # own pages
    allowed_origins: Annotated[tuple[str, ...], BeforeValidator(_origins)] = ()
    callers: str = ""  # the service accounts, separated by spaces, that may call the function in the cloud
    audience: str = ""  # the function's own URL, which its callers' tokens must be for

    # Payment, shipping and notification providers. `..._authorization` is sent as the header
    # Authorization; `id-token` stands for a token of the process's service account
    payment_url: str = "http://127.0.0.1:8081/sandbox_provider/payments"  # by default the sandbox provider
    payment_authorization: str = ""
    shipping_url: str = "http://127.0.0.1:8081/sandbox_provider/shipments"
    shipping_authorization: str = ""
    notification_url: str = "http://127.0.0.1:8081/sandbox_provider/notifications"
    notification_authorization: str = ""
    sandbox_database: str = ":memory:"  # the SQLite file of the sandbox provider
    # Whether admins may break the sandbox's providers and stop projections, for trials; None: not
    # in the cloud
    fault_lab: bool | None = None
    saga_pace: Seconds = 1.0  # multiplies every deadline of a saga; below 1, deadlines pass sooner

    # Time limits and circuit breakers
    request_timeout_seconds: Seconds = 25  # for a whole GraphQL request
    command_timeout_seconds: Seconds = 10  # for one call of a command function, which may be made twice
    handler_timeout_seconds: Seconds = 50  # for a function that Pub/Sub or a schedule calls
    breaker_fail_max: Positive = 10  # callers failing in a row that open a circuit breaker; one order is one caller
    breaker_reset_seconds: Seconds = 5  # for which it stays open
    consistency_wait_seconds: Seconds = 5  # that a query waits for a read model to reach the client's last write
    health_check_seconds: Seconds = 2  # for each check of a health report
    # A command wakes the functions that its events will reach, each at most once in so many
    # seconds; 0: never
    wake_ahead_seconds: NotNegativeSeconds = 0
    kept_warm: str = ""  # the functions, separated by spaces, that always run, so they are not woken

    # What is recorded, and for how long
    trace_sample_ratio: Ratio = 1.0  # of the requests, where traces are exported
    history_sample_ratio: Ratio = 1.0  # of the successful executions; failed ones are always recorded
    keep_history_days: NotNegative = 90  # then expire_records deletes histories of ended sagas and settled dead letters
    keep_executions_days: NotNegative = 14  # then it deletes executions

    # Live updates
    heartbeat_seconds: Seconds = 12  # between signs of life in a silent subscription
    dashboard_seconds: Seconds = 2  # between two readings for a subscribed dashboard
    topology_seconds: Seconds = 15  # for which a function's health is cached: asking starts the function
    subscription_max_seconds: Seconds = 3_300  # then it ends and the client asks again; below Cloud Run's request limit
    max_subscribers: Positive = 800  # at one time in one process
    max_subscribers_anonymous: NotNegative = 600  # of these, without sign-in; the rest is kept for signed-in users
    max_subscriptions_per_client: NotNegative = 50  # of these, per user or client address; 0: no limit
    subscriber_buffer: Positive = 1_000  # events that may wait for one subscriber

    # Limits of a GraphQL document as it is written; the API's README says what happens beyond each
    # limit
    max_body_bytes: Positive = 1_000_000  # of one request
    max_persisted_characters: NotNegative = 1_000_000  # of all documents that are kept for clients that send their hash
    max_query_characters: Positive = 50_000  # of one document, as the next three
    max_query_tokens: Positive = 4_000
    max_query_fields: Positive = 500
    max_query_fragments: NotNegative = 50  # fragment spreads
    max_string_characters: Positive = 10_000  # of each string in it or in the variables
    max_variable_values: Positive = 10_000  # in all variables, those inside of objects and lists included

    # Limits of the operation that runs, with its fragments written out
    max_query_depth: Positive = 10  # levels of nested fields
    max_query_aliases: NotNegative = 50
    # Cost: the fields that the answer may have, each list counted as long as its limit, and what is
    # read for them: 10 for each document or row, 2 for each event that is folded, 1 for 10
    # documents skipped
    max_query_cost: Positive = 50_000
    max_list_limit: Annotated[int, Field(ge=100)] = 1_000  # of the argument `limit`; schema.graphql's default is 100
    max_list_offset: NotNegative = 100_000  # of the argument `offset`
    max_search_characters: Positive = 200  # of a search term
    max_search_documents: Positive = 2_000  # read for one search
    introspection: bool = True  # whether clients may ask for the schema

    # Rate limits: GraphQL requests per minute; 0: no limit
    rate_limit_signed_in: NotNegative = 1_000  # per user
    rate_limit_anonymous: NotNegative = 100  # per client address
    # How many entries at the end of X-Forwarded-For our own proxies wrote; None: 1 in the cloud,
    # else 0
    trusted_proxies: NotNegative | None = None


class MalformedSetting(Exception):
    """An environment variable holds what its setting does not take."""


@lru_cache
def settings() -> Settings:
    """Return the process's settings.

    Raise MalformedSetting, which names the variable, when one is malformed.
    """
    variables = {field.name: field.name.upper() for field in fields(Settings)}
    given = {name: os.environ[variable] for name, variable in variables.items() if variable in os.environ}
    try:
        return TypeAdapter(Settings).validate_python(given)
    except ValidationError as error:
        path, fault = first_fault(error)
        raise MalformedSetting(f"the environment variable {str(path[0]).upper()} {fault}") from None


def url_of(template: str, function: str) -> str:
    """Return the URL of a function, from the setting `command_url` or `query_url`."""
    return template.format(function=function, service=service_name(function))


def service_name(function: str) -> str:
    """Return the function's name as Cloud Run has it: with hyphens in place of underscores."""
    return function.replace("_", "-")
