"""Each function signs in to PostgreSQL as its own user, which may do exactly what the function's
work needs. As in the cloud, no user is a superuser, not even the one that migrates."""

import base64
import json
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

import flask
import psycopg
import pytest
import structlog
from graphql import GraphQLField, get_named_type, get_nullable_type, is_interface_type, is_leaf_type, is_object_type
from psycopg import errors
from psycopg.conninfo import make_conninfo
from uuid_utils.compat import uuid7

from scripts.local.emulators import start_postgres
from scripts.local.migrate import NoSuchUser, give_roles, migrate_all
from shared.api.schema import schema
from shared.config.manifest import manifest
from shared.config.settings import Settings, service_name
from shared.domain.errors import Unavailable
from shared.event_store.log import PostgresEventLog
from shared.messaging.envelope import Message, Publishable, postponed
from shared.monitoring.dependencies import dependencies
from shared.observability.context import Context
from shared.postgres.pool import connect
from shared.read_models.by_generation import EveryGeneration, LiveGeneration
from shared.read_models.generations import Pace
from shared.read_models.memory import MemoryReadModels
from shared.resilience import clock
from shared.runtime.current import use
from shared.runtime.engines import Engines
from tests.fakes import MovableClock
from tests.shop_in_memory import Json, Loops, ShopInMemory, app, plain_logs, provider

__all__ = ["plain_logs", "provider"]

USER = "shop-{service}@my-shop.iam"
OWNER = "cloudsqlsuperuser"
FUNCTIONS = manifest().functions
SIGNING_IN = [function for function in FUNCTIONS.values() if function.database_roles]


class Servers:
    """A server like Cloud SQL. `admin`: URLs without any restriction. `settings`: those of the
    migration."""

    def __init__(self, event_store: str, command: str) -> None:
        self.admin = {"event_store": event_store, "command_database": command}
        self.run("event_store", f"CREATE ROLE {OWNER} NOLOGIN CREATEROLE CREATEDB")
        for database in ("event_store", "command"):
            self.run("event_store", f"ALTER DATABASE {database} OWNER TO {OWNER}")
        self.add_user("migrate")
        self.run("event_store", f'GRANT {OWNER} TO "{user("migrate")}"')
        self.settings = Settings(**self.urls("migrate", options=f"-c role={OWNER}"), database_user=USER)

    def run(self, database: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.admin[database], autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def add_user(self, function: str) -> None:
        self.run("event_store", f'CREATE ROLE "{user(function)}" LOGIN')

    def urls(self, function: str, **more: str) -> dict[str, Any]:
        """Return settings that sign in as the function's user."""
        urls = {name: make_conninfo(url, user=user(function), **more) for name, url in self.admin.items()}
        return {"event_store_url": urls["event_store"], "command_database_url": urls["command_database"]}

    def roles_of(self, function: str) -> set[str]:
        query = """SELECT role.rolname FROM pg_auth_members JOIN pg_roles role ON role.oid = roleid
                   JOIN pg_roles u ON u.oid = member WHERE u.rolname = %s"""
        return {row[0] for row in self.run("event_store", query, user(function))}


def user(function: str) -> str:
    return USER.format(service=service_name(function))


@pytest.fixture(scope="module")
def servers(engines_wanted: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    home = tmp_path_factory.mktemp("cloud")
    for folder in (home, *home.parents[:2]):
        folder.chmod(0o755)  # as root, the server runs as another user
    event_store, command, stop = start_postgres(home / "data")
    servers = Servers(event_store, command)
    for function in SIGNING_IN:
        servers.add_user(function.name)
    migrate_all(servers.settings)
    yield servers
    stop()


class Broker:
    """Holds messages until a test delivers them. `down`: refuse messages. `publisher`: the function
    that publishes."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[str, Json]] = deque()
        self.down = False
        self.publisher = ""
        self.published: set[tuple[str, str]] = set()

    def publish(self, messages: Sequence[Publishable]) -> list[UUID]:
        if self.down:
            raise Unavailable("down")
        for message in messages:
            self.published.add((self.publisher, message.topic))
            data = base64.b64encode(message.body()).decode()
            pushed = {"messageId": str(random.getrandbits(63)), "data": data, "attributes": message.attributes()}
            self.waiting.append((message.topic, pushed))
        return [message.id for message in messages]

    def has_topic(self, topic: str) -> bool:
        return True


class OwnEngines(Engines):
    def __init__(self, settings: Settings, broker: Broker, models: MemoryReadModels) -> None:
        super().__init__(settings)
        self.publisher = broker
        self.read_models, self.queries = EveryGeneration(models), LiveGeneration(models)


class Shop(ShopInMemory):
    """One function at a time, each with engines that sign in as its user."""

    def __init__(self, servers: Servers, provider: str) -> None:
        self.broker, self.loops, models = Broker(), Loops(), MemoryReadModels()
        common = Settings(
            payment_url=f"{provider}/payments",
            shipping_url=f"{provider}/shipments",
            notification_url=f"{provider}/notifications",
            saga_pace=0.001,
            pool_size=2,
        )
        self.of = {name: OwnEngines(replace(common, **servers.urls(name)), self.broker, models) for name in FUNCTIONS}
        self.worked: set[str] = set()

    def close(self) -> None:
        for engines in self.of.values():
            engines.close()
        self.loops.close()

    def as_itself(self, function: str) -> None:
        use(self.of[function])
        self.broker.publisher = function
        self.worked.add(function)

    def call(self, function: str, body: bytes = b"", method: str = "POST", **request: Any) -> Any:
        self.as_itself(function)
        return super().call(function, body, method, **request)

    def done(self, function: str, **body: object) -> None:
        response = self.command(function, body)
        assert response.status_code in (200, 204), (function, response.text)

    def graphql(self, query: str, *_: Any, **__: Any) -> Json:
        self.as_itself("graphql")
        return super().graphql(query)

    def deliver_next(self) -> None:
        topic, message = self.broker.waiting.popleft()
        for subscription in manifest().all_subscriptions:
            if subscription.topic == topic:
                body = {"message": message, "subscription": f"projects/p/subscriptions/{subscription.name}"}
                pushed = self.push(subscription.endpoint, body)
                assert pushed.status_code == 204, (subscription.name, pushed.text)

    def deliver_until(self, topic: str | None = None) -> None:
        """Deliver everything, or stop before the first message of the topic."""
        while self.broker.waiting and self.broker.waiting[0][0] != topic:
            self.deliver_next()

    def poison(self) -> None:
        """Push a message that a projection rejects, and record its dead letter."""
        (source,) = [each for each in manifest().all_subscriptions if each.name == "project-products.product-events"]
        message = {"messageId": str(random.getrandbits(63)), "data": "cG9pc29u", "attributes": {"n": str(uuid7())}}
        name = f"projects/p/subscriptions/{source.name}"
        assert self.push("project_products", {"message": message, "subscription": name}).status_code >= 400
        attributes = message["attributes"] | {"CloudPubSubDeadLetterSourceSubscription": source.name}  # type: ignore[operator]
        body = {
            "message": {**message, "attributes": attributes},
            "subscription": f"record-dead-letter.{source.name}.dead",
        }
        assert self.push("record_dead_letter", body).status_code == 204


@pytest.fixture
def shop(servers: Servers, provider: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setattr("shared.runtime.current._engines", None)  # restored after the test
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    shop = Shop(servers, provider)
    yield shop
    shop.close()


def test_every_function_can_do_all_its_work(shop: Shop, servers: Servers) -> None:
    with structlog.testing.capture_logs([structlog.processors.format_exc_info]) as logs:
        product = catalogue(shop)
        sagas(shop, product)
        questions(shop, servers)
        operations(shop, servers)
        for function in SIGNING_IN:
            ready(shop, function.name)
    assert shop.worked >= {function.name for function in SIGNING_IN}
    assert [line for line in logs if "permission denied" in repr(line)] == []
    assert {(function, topic) for function, topic in shop.broker.published if not may_publish(function, topic)} == set()


def may_publish(function: str, topic: str) -> bool:
    """Return what terraform/access.tf grants."""
    access: Sequence[str] = FUNCTIONS[function].access or [FUNCTIONS[function].group]
    if topic.endswith("-events"):
        return bool({*access} & {"commands", "sagas", "relay", "administration", "rebuilding", "erasure"})
    return bool({*access} & {"coordination", "relay", "administration"})


def catalogue(shop: Shop) -> str:
    """Run every command of the catalogue; return a product on sale whose history is long enough for
    a snapshot."""
    top, below = shop.new_category(), shop.new_category()
    shop.done("update_category", categoryId=below, name="below", parentId=top)
    sold, dropped = shop.new_product(below), shop.new_product(below)
    shop.done("update_product", productId=sold, description="green", categoryId=top)
    shop.done("change_product_price", productId=sold, newPrice=500)
    for _ in range(110):
        shop.done("adjust_stock", productId=sold, delta=1)
    shop.done("delete_product", productId=dropped)
    shop.done("delete_category", categoryId=below)
    shop.deliver_until()
    return sold


def sagas(shop: Shop, product: str) -> None:
    """Run every step and every compensation of the saga."""
    confirmed = shop.new_order(product)
    shop.deliver_until()
    shop.new_order(product, paymentMethod="decline")
    shop.new_order(product, shippingMethod="refuse")
    shop.deliver_until()
    erased = shop.new_order(product, userId="hanako")
    shop.deliver_until("arrange-shipping")
    shop.done("erase_person", userId="hanako", reason="asked for it")
    shop.deliver_until()
    shop.done("continue_erasures")
    assert shop.graphql(f'{{ order(id: "{erased}") {{ userId }} }}')["data"]["order"] == {"userId": "erased"}
    cancelled = shop.new_order(product)
    shop.deliver_until("arrange-shipping")
    shop.done("cancel_order", orderId=cancelled)
    shop.deliver_until()
    states = {order_id: shop.of["graphql"].sagas.load(UUID(order_id)) for order_id in (confirmed, cancelled)}
    assert [saga.progress.status.value for saga in states.values() if saga] == ["COMPLETED", "FAILED"]


def operations(shop: Shop, servers: Servers) -> None:
    """Run every operation of admins and schedules."""
    product = shop.new_product()
    shop.broker.waiting.clear()
    unheard = shop.new_order(product)
    shop.broker.waiting.clear()
    shop.done("retry_saga", id=unheard)
    shop.broker.waiting.clear()  # its first step never gets the command, and its deadline passes
    shop.done("sweep_sagas")
    shop.poison()
    (first,), (second,) = servers.run("command_database", "SELECT id FROM dead_letters")
    shop.done("retry_dead_letters", id=str(first))
    shop.done("discard_dead_letter", id=str(second), reason="poison")
    shop.broker.waiting.clear()
    shop.broker.down = True
    late = shop.new_order(product)
    shop.done("retry_saga", id=late)
    stuck = "status = 'STUCK', deadline_at = NULL, progress = jsonb_set(progress, '{status}', '\"STUCK\"')"
    servers.run("command_database", f"UPDATE sagas SET {stuck} WHERE id = '{late}'")
    shop.done("restart_saga", id=late, fromStep="reserve_inventory")
    postpone_twice(shop)
    shop.broker.down = False
    servers.run("event_store", "UPDATE event_outbox SET leased_until = 'epoch'")
    servers.run("command_database", "UPDATE saga_outbox SET leased_until = 'epoch'")
    shop.done("relay_outbox")
    assert {topic for topic, _ in shop.broker.waiting} >= {"order-events", "reserve-inventory"}
    assert shop.call("report_metrics", method="GET").status_code == 200
    shop.done("report_metrics")
    assert servers.run("command_database", "SELECT outbox_waiting IS NOT NULL FROM gauges") == [(True,)]
    expiry(shop, servers)
    shop.broker.waiting.clear()
    shop.done("rebuild_projection", name="project_products", action="REBUILD")
    shop.of["continue_rebuilds"].pace, later = Pace(0.0, 60.0), MovableClock()
    with clock.use(later):
        for _ in range(2):  # the first pass over all streams, and one over those that it has found incomplete
            later.move(60)
            shop.done("continue_rebuilds")
    assert {topic for topic, _ in shop.broker.waiting} == {"product-events"}


def postpone_twice(shop: Shop) -> None:
    message = Message("process-payment", "ProcessPayment", "order-1", {}, Context("c", "k"))
    for function in ("process_payment", "project_orders"):
        for _ in range(2):
            shop.of[function].sagas.postpone(postponed(message, f"{function}.process-payment", "the provider"), 60)
    assert len(shop.of["graphql"].outboxes[1].about("order-1")) == 2


def expiry(shop: Shop, servers: Servers) -> None:
    old = {
        "event_store": ["idempotency SET recorded_at = 'epoch'"],
        "command_database": [
            "dead_letters SET updated_at = 'epoch'",
            "delivery_failures SET last_at = 'epoch'",
            "sagas SET updated_at = 'epoch'",
            "saga_history SET recorded_at = 'epoch'",
            "executions SET recorded_at = 'epoch'",
            "gauges SET minute = 'epoch'",
        ],
    }
    for database, tables in old.items():
        for table in tables:
            servers.run(database, f"UPDATE {table}")
    expired = shop.command("expire_records", {})
    assert expired.status_code == 200 and expired.json()["done"] > 20
    left = "SELECT count(*) FROM idempotency"
    assert servers.run("event_store", left) == [(0,)]
    assert servers.run("command_database", "SELECT count(*) FROM dead_letters") == [(0,)]
    assert servers.run("command_database", "SELECT count(*) FROM gauges") == [(0,)]


def questions(shop: Shop, servers: Servers) -> None:
    """Run every query of the schema with all fields that need no argument."""
    shop.poison()
    (order,) = servers.run("event_store", "SELECT substr(stream, 7) FROM events WHERE type = 'OrderConfirmed' LIMIT 1")
    (product,) = servers.run(
        "event_store", "SELECT substr(stream, 9) FROM events WHERE type = 'ProductCreated' LIMIT 1"
    )
    (letter,) = servers.run("command_database", "SELECT id FROM dead_letters LIMIT 1")
    ids = {"order": order[0], "saga": order[0], "product": product[0], "deadLetter": letter[0]}
    queries = schema().query_type
    assert queries
    for name, field in queries.fields.items():
        answer = shop.graphql(f"{{ {name}{given(name, field, ids)} {selection(field.type)} }}")
        codes = {error["extensions"]["code"] for error in answer.get("errors", ())}
        allowed = {"NOT_FOUND", "INVALID_INPUT"} | ({"SERVICE_UNAVAILABLE"} if name == "faults" else set())
        assert codes <= allowed, (name, answer)  # no sandbox provider runs here, which `faults` asks
        assert not codes or name not in {*ids, "eventHistory"}, (name, answer)
    for engines in shop.of.values():
        engines.recorder.flush()
    asked = shop.graphql(f'{{ order(id: "{order[0]}") {{ timeline {{ name kind }} }} }}')
    assert {entry["kind"] for entry in asked["data"]["order"]["timeline"]} == {"EVENT", "DELIVERY", "SAGA"}
    assert servers.run("command_database", "SELECT count(*) > 20 FROM executions WHERE kind = 'query'") == [(True,)]


def given(name: str, field: GraphQLField, ids: dict[str, Any]) -> str:
    """Return the required arguments with values."""
    values = {"id": ids.get(name, uuid7()), "userId": "ann", "searchTerm": "tea", "serviceName": "graphql"}
    values["name"] = "project_products"
    values["aggregateId"] = values["orderId"] = ids["order"]
    needed = [name for name, argument in field.args.items() if str(argument.type).endswith("!")]
    arguments = ", ".join(f'{name}: "{values[name]}"' for name in needed)
    return f"({arguments})" if needed else ""


def selection(kind: Any, depth: int = 2) -> str:
    named = get_named_type(kind)
    if is_leaf_type(named):
        return ""
    if is_interface_type(named):
        return "{ id }"
    assert is_object_type(named)
    parts = [
        f"{name} {selection(field.type, depth - 1)}"
        for name, field in named.fields.items()
        if name != "timeline" and (is_leaf_type(get_named_type(get_nullable_type(field.type))) or depth > 0)
    ]
    return f"{{ {' '.join(parts)} }}"


def ready(shop: Shop, function: str) -> None:
    """Assert that the function can read what /health/ready reads."""
    shop.as_itself(function)
    if function == "graphql":
        answer = shop.http("GET", "/health/ready")
        report = answer.json()
    else:
        report = json.loads(cast(flask.Flask, app(function)).test_client().get("/health/ready").data)
    assert report["status"] == "HEALTHY", (function, report)


WRITES = ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
EVERYWHERE = {"executions INSERT", "delivery_failures INSERT", "delivery_failures UPDATE"}
APPENDS = {
    "events INSERT", "snapshots INSERT", "snapshots UPDATE",
    "event_outbox INSERT", "event_outbox DELETE", "outbox INSERT", "outbox DELETE",
}  # fmt: skip
ANSWERS = {"idempotency INSERT", "idempotency UPDATE"}
NEW_KEYS = {"person_keys INSERT", "wrapping_keys INSERT"}
MAY_WRITE: dict[str, dict[str, set[str]]] = {
    "graphql": {"event_store": set(), "command_database": {"executions INSERT"}},
    "create_order": {
        "event_store": {*APPENDS, *ANSWERS, "placements INSERT", "placements UPDATE", "placements DELETE"},
        "command_database": NEW_KEYS,
    },
    "project_orders": {"event_store": set(), "command_database": {*EVERYWHERE, "saga_outbox INSERT"}},
    "process_payment": {"event_store": APPENDS, "command_database": {*EVERYWHERE, *NEW_KEYS, "saga_outbox INSERT"}},
    "continue_erasures": {
        "event_store": APPENDS,
        "command_database": {"person_keys DELETE", "erasures INSERT", "erasures UPDATE", "executions INSERT"},
    },
    "order_saga": {
        "event_store": set(),
        "command_database": {
            *EVERYWHERE, "sagas INSERT", "sagas UPDATE", "saga_history INSERT",
            "dead_letters UPDATE", "dead_letter_history INSERT",
            "saga_outbox INSERT", "saga_outbox DELETE", "outbox INSERT", "outbox DELETE",
        },
    },
    "record_dead_letter": {
        "command_database": {
            "dead_letters INSERT", "dead_letters UPDATE", "dead_letter_history INSERT", "delivery_failures DELETE",
        }
    },
    "discard_dead_letter": {
        "event_store": ANSWERS,
        "command_database": {"dead_letters UPDATE", "dead_letter_history INSERT"},
    },
    "expire_records": {
        "event_store": {"idempotency DELETE"},
        "command_database": {
            "dead_letters DELETE", "delivery_failures DELETE", "saga_history DELETE", "executions DELETE",
            "execution_counts DELETE", "execution_counters DELETE", "gauges DELETE", "executions INSERT",
        },
    },
    "relay_outbox": {
        "event_store": {"event_outbox UPDATE", "event_outbox DELETE", "outbox UPDATE", "outbox DELETE"},
        "command_database": {
            "saga_outbox UPDATE", "saga_outbox DELETE", "outbox UPDATE", "outbox DELETE", "executions INSERT",
        },
    },
    "report_metrics": {"event_store": set(), "command_database": {"executions INSERT", "gauges INSERT"}},
    "continue_rebuilds": {"event_store": set(), "command_database": {"executions INSERT"}},
}  # fmt: skip


@pytest.mark.parametrize("function", MAY_WRITE)
def test_a_function_may_write_nothing_but_this(servers: Servers, function: str) -> None:
    query = """SELECT relname || ' ' || privilege FROM pg_class, unnest(%s::text[]) AS privilege
               WHERE relkind IN ('r', 'v') AND relnamespace = 'public'::regnamespace
               AND has_table_privilege(%s, pg_class.oid, privilege)"""
    for database in ("event_store", "command_database"):
        may = {row[0] for row in servers.run(database, query, list(WRITES), user(function))}
        assert may == MAY_WRITE[function].get(database, set())


def test_every_kind_of_access_is_in_the_table_above() -> None:
    assert {role for function in SIGNING_IN for role in function.database_roles} == {
        role for function in MAY_WRITE for role in FUNCTIONS[function].database_roles
    }


@pytest.mark.parametrize("function", [function.name for function in SIGNING_IN])
def test_no_function_may_rewrite_history_or_create_tables_or_roles(servers: Servers, function: str) -> None:
    used = [name for name in ("event_store", "command_database") if name in FUNCTIONS[function].uses]
    forbidden = {
        "event_store": ["UPDATE events SET type = ''", "DELETE FROM events", "TRUNCATE events", "DROP TABLE events"],
        "command_database": ["UPDATE saga_history SET name = ''", "TRUNCATE sagas", "DROP TABLE dead_letters"],
    }
    everywhere = [
        "CREATE TABLE mine (id int)",
        "CREATE ROLE mine",
        f"SET ROLE {OWNER}",
        "CREATE TEMP TABLE mine (id int)",
    ]
    urls = servers.urls(function)
    for database in used:
        with psycopg.connect(urls[f"{database}_url"], autocommit=True) as connection:
            for statement in [*forbidden[database], *everywhere]:
                with pytest.raises(errors.InsufficientPrivilege):
                    connection.execute(statement)
    for database in {"event_store", "command_database"} - set(used):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(urls[f"{database}_url"])


def test_a_user_without_a_role_cannot_connect(servers: Servers) -> None:
    servers.add_user("somebody")
    for url in servers.urls("somebody").values():
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(url)


@pytest.mark.parametrize("function", ["graphql", "report_metrics"])
def test_a_function_sees_how_far_another_users_transaction_holds_the_log_back(servers: Servers, function: str) -> None:
    """Also when the owner of the databases may not see when another user's transaction began."""
    insert = """INSERT INTO events (id, stream, version, type, schema_version, data, metadata, recorded_at)
                VALUES (gen_random_uuid(), 'other-' || gen_random_uuid(), 1, 'E', 1, '{}', '{}', now() - interval '7 s')"""
    with psycopg.connect(servers.urls("relay_outbox")["command_database_url"]) as connection:
        connection.execute("SELECT pg_current_xact_id()")
        servers.run("event_store", insert)
        with connect(servers.urls(function)["event_store_url"], 1) as pool:
            held_back = PostgresEventLog(pool).held_back()
    assert held_back.events == 1
    assert 7 <= held_back.oldest_transaction_seconds < 60


@pytest.mark.parametrize("function", ["graphql", "relay_outbox", "report_metrics"])
def test_a_function_says_that_its_database_was_restored(servers: Servers, shop: Shop, function: str) -> None:
    servers.run("event_store", "UPDATE epochs SET cluster = cluster + 1")
    try:
        shop.as_itself(function)
        (check,) = [one for one in dependencies(shop.of[function], function) if one.name == "event_store"]
        with pytest.raises(Unavailable, match="was restored from a backup; run scripts/migrate"):
            check.look()
    finally:
        servers.run("event_store", "UPDATE epochs SET cluster = cluster - 1")


def test_graphql_cannot_read_recorded_results(servers: Servers) -> None:
    url = servers.urls("graphql")["event_store_url"]
    with psycopg.connect(url) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute("SELECT FROM idempotency")


def test_migrating_again_restores_the_roles_of_the_manifest(servers: Servers) -> None:
    servers.run("event_store", f'REVOKE shop_commands FROM "{user("create_order")}" GRANTED BY {OWNER}')
    servers.run("event_store", f'GRANT shop_expiry TO "{user("graphql")}" GRANTED BY {OWNER}')
    servers.run("event_store", "GRANT DELETE ON events TO shop_graphql")
    assert migrate_all(servers.settings) == [
        f"{user('graphql')}: -shop_expiry",
        f"{user('create_order')}: +shop_commands",
    ]
    assert servers.roles_of("graphql") == {"shop_graphql"}
    assert servers.roles_of("retry_saga") == {"shop_administration", "shop_coordination"}
    assert servers.run("event_store", "SELECT has_table_privilege('shop_graphql', 'events', 'DELETE')") == [(False,)]
    assert migrate_all(servers.settings) == []


def test_the_error_names_a_missing_user(servers: Servers) -> None:
    with pytest.raises(NoSuchUser, match=r"no user other-graphql@my-shop\.iam for graphql; terraform apply creates it"):
        give_roles(replace(servers.settings, database_user="other-{service}@my-shop.iam"))


def test_a_migration_without_the_right_to_create_roles_grants_nothing(servers: Servers) -> None:
    """For example on a developer's own server, as the owner of two databases and nothing else."""
    servers.run("event_store", "CREATE ROLE developer LOGIN")
    for name in ("plain_store", "plain_command"):
        servers.run("event_store", f"CREATE DATABASE {name} OWNER developer")
    roles = servers.run("event_store", "SELECT rolname FROM pg_roles WHERE starts_with(rolname, 'shop_')")
    try:
        for (role,) in roles:
            servers.run("event_store", f"ALTER ROLE {role} RENAME TO hidden_{role}")
        store, command = (
            make_conninfo(servers.admin["event_store"], user="developer", dbname=name)
            for name in ("plain_store", "plain_command")
        )
        settings = Settings(event_store_url=store, command_database_url=command)
        assert len(migrate_all(settings)) > 8
        assert migrate_all(settings) == []
    finally:
        for (role,) in roles:
            servers.run("event_store", f"ALTER ROLE hidden_{role} RENAME TO {role}")
