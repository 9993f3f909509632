"""Functions identify themselves in the cloud: to each other, to the sandbox, to PostgreSQL.

Google's library asks a metadata server, which the test provides. It looks for the server when it is
imported, so the code under test runs in a process of its own.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import psycopg
import pytest
from google.auth.exceptions import TransportError
from psycopg.conninfo import make_conninfo

from shared.config.manifest import ROOT
from shared.config.settings import url_of
from shared.domain.errors import Unavailable
from shared.gateways.providers import HttpProvider
from shared.postgres.pool import connect
from shared.resilience.breakers import Breaker
from shared.resilience.calls import deadline

NUMBER = "https://shop-{service}-123456789012.asia-northeast1.run.app"


@dataclass
class Metadata:
    """A metadata server. `seconds`: how long its tokens are valid. `asked`: path and parameters of
    each request."""

    port: int = 0
    seconds: int = 3600
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def run(self, code: str, folder: Path) -> str:
        """Run a program as on Cloud Run and return what it prints."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("FIREBASE", "GOOGLE"))}
        here = f"127.0.0.1:{self.port}"
        google = {"GCE_METADATA_HOST": here, "GCE_METADATA_IP": here, "CLOUDSDK_CONFIG": str(folder), "K_SERVICE": "x"}
        environment = {**plain, **google, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def tokens(self) -> list[dict[str, str]]:
        return [given for path, given in self.asked if path.endswith(("/token", "/identity"))]


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    metadata = Metadata()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            given = {name: values[0] for name, values in parse_qs(url.query).items()}
            metadata.asked.append((url.path, given))
            self.send_response(200)
            self.send_header("Metadata-Flavor", "Google")
            kind, body = self._answer(url.path, given)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body.encode())

        def _answer(self, path: str, given: dict[str, str]) -> tuple[str, str]:
            number = len(metadata.tokens())
            if path.endswith("/identity"):
                claims = {"aud": given["audience"], "exp": int(time.time()) + metadata.seconds, "n": number}
                return "text/plain", jwt.encode(claims, "k" * 32)
            if path.endswith("/token"):
                token = {"access_token": f"token-{number}", "expires_in": metadata.seconds, "token_type": "Bearer"}
                return "application/json", json.dumps(token)
            if "service-accounts" in path:
                return "application/json", json.dumps(
                    {"email": "shop-x@p.iam.gserviceaccount.com", "scopes": [], "aliases": []}
                )
            return "text/plain", "my-shop"

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    metadata.port = server.server_port
    Thread(target=server.serve_forever, daemon=True).start()
    yield metadata
    server.shutdown()
    server.server_close()


LOGIN = "from shared.postgres.pool import login_token; print(login_token(), login_token())"


def test_the_token_for_postgresql_has_no_other_scope_and_is_cached(metadata: Metadata, tmp_path: Path) -> None:
    assert metadata.run(LOGIN, tmp_path) == "token-1 token-1\n"
    assert metadata.tokens() == [{"scopes": "https://www.googleapis.com/auth/sqlservice.login"}]


def test_a_token_that_is_about_to_expire_is_not_used(metadata: Metadata, tmp_path: Path) -> None:
    metadata.seconds = 60
    assert metadata.run(LOGIN, tmp_path) == "token-1 token-2\n"


CALL = """
import asyncio
from shared.auth.identity import authorization, signed
url = "https://shop-create-order-1.run.app"
header = asyncio.run(authorization(url))
assert header == signed(url + "/health/ready")
print(header["Authorization"])
"""


def test_a_call_to_a_function_carries_a_token_for_that_function(metadata: Metadata, tmp_path: Path) -> None:
    scheme, token = metadata.run(CALL, tmp_path).split()
    assert scheme == "Bearer"
    assert jwt.decode(token, "k" * 32, ["HS256"], {"verify_aud": False})["aud"] == "https://shop-create-order-1.run.app"
    assert len(metadata.tokens()) == 1


@pytest.mark.parametrize(
    ("template", "url"),
    [
        (NUMBER, "https://shop-create-order-123456789012.asia-northeast1.run.app"),
        ("http://127.0.0.1:8081/{function}", "http://127.0.0.1:8081/create_order"),
    ],
)
def test_the_address_of_a_function_contains_its_name(template: str, url: str) -> None:
    assert url_of(template, "create_order") == url


def test_every_new_connection_signs_in_with_the_current_token(event_store_url: str) -> None:
    """Open connections outlive the token that they signed in with."""
    with psycopg.connect(event_store_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS token_user")
        connection.execute("CREATE ROLE token_user LOGIN PASSWORD 'first'")
        (file,) = connection.execute("SHOW hba_file").fetchone() or ()
        rules = Path(file)
        before = rules.read_text()
        rules.write_text(f"local all token_user scram-sha-256\n{before}")
        connection.execute("SELECT pg_reload_conf()")
        tokens = ["first"]
        try:
            url = make_conninfo(event_store_url, user="token_user")
            with connect(url, 2, lambda: tokens[-1]) as pool, pool.connection() as old:
                assert old.execute("SELECT current_user").fetchone() == ("token_user",)
                connection.execute("ALTER ROLE token_user PASSWORD 'second'")
                tokens.append("second")
                with pool.connection() as new:
                    assert new.execute("SELECT current_user").fetchone() == ("token_user",)
                assert old.execute("SELECT 1").fetchone() == (1,)
        finally:
            rules.write_text(before)
            connection.execute("SELECT pg_reload_conf()")


def test_without_a_token_the_database_is_unavailable(event_store_url: str) -> None:
    def none() -> str:
        raise TransportError("the metadata server does not answer")

    with (
        connect(event_store_url, 1, none) as pool,
        deadline(0.5),
        pytest.raises(Unavailable),
        pool.use("the event store"),
    ):
        pass


@pytest.fixture
def provider_headers() -> Iterator[tuple[str, list[str | None]]]:
    """Yield the address of a provider that accepts everything, and the Authorization headers that
    it gets."""
    seen: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_DELETE(self) -> None:
            seen.append(self.headers["Authorization"])
            body = b'{"status": "undone"}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/payments", seen
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("authorization", "sent"),
    [("", None), ("Bearer sk_live_1\n", "Bearer sk_live_1"), ("id-token", None)],
    ids=["none", "a key", "a token, on a developer's machine"],
)
def test_a_provider_gets_the_authorization_of_the_settings(
    provider_headers: tuple[str, list[str | None]], authorization: str, sent: str | None
) -> None:
    url, seen = provider_headers
    refund(url, authorization)
    assert seen == [sent]


def test_in_the_cloud_the_sandbox_provider_gets_an_id_token(
    provider_headers: tuple[str, list[str | None]], metadata: Metadata, tmp_path: Path
) -> None:
    url, seen = provider_headers
    metadata.run(
        f"""
import httpx
from shared.gateways.providers import HttpProvider
from shared.resilience.breakers import Breaker
with httpx.Client() as client:
    HttpProvider("{url}", client, Breaker("the provider", 10, 5), "id-token").refund("key")
""",
        tmp_path,
    )
    (header,) = seen
    assert header
    claims = jwt.decode(header.removeprefix("Bearer "), "k" * 32, ["HS256"], {"verify_aud": False})
    assert claims["aud"] == url.removesuffix("/payments")


def test_without_a_token_a_provider_is_unavailable(
    provider_headers: tuple[str, list[str | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_: str) -> str:
        raise TransportError("the metadata server does not answer")

    monkeypatch.delenv("FIREBASE_AUTH_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("K_SERVICE", "shop-refund-payment")
    monkeypatch.setattr("shared.auth.identity.service_token", none)
    url, seen = provider_headers
    with pytest.raises(Unavailable, match="no answer from the provider"):
        refund(url, "id-token")
    assert seen == []


def refund(url: str, authorization: str) -> None:
    with httpx.Client() as client:
        HttpProvider(url, client, Breaker("the provider", 10, 5), authorization).refund("key")
