"""Functions and migrations connect over TCP and TLS, to the server that its CA vouches for, with a
token as password."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from scripts.local.migrate import migrate_all, until_signed_in
from shared.config.manifest import SQL_FOLDERS
from shared.config.settings import Settings
from shared.domain.errors import Unavailable
from shared.postgres.migrations import numbered
from shared.postgres.pool import connect, verified
from shared.runtime.engines import Engines
from tests.end_to_end.running_shop import wait_until
from tests.ports import free_port

TOKEN = "the-service-accounts-token"
USER = "shop-create-order@shop-test-1.iam"
HBA = """
local all postgres trust
hostnossl all all 127.0.0.1/32 reject
hostssl all postgres 127.0.0.1/32 trust
hostssl all all 127.0.0.1/32 password
"""


class Authority:
    """A CA with one key, which signs itself and the server."""

    def __init__(self, name: str) -> None:
        self._key, self._name = ec.generate_private_key(ec.SECP256R1()), name
        self.certificate = self._signed(name, self._key.public_key())

    def _signed(self, name: str, key: ec.EllipticCurvePublicKey) -> str:
        issuer, subject = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, one)]) for one in (self._name, name))
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().issuer_name(issuer).subject_name(subject).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        made = builder.add_extension(x509.BasicConstraints(name == self._name, None), critical=True)
        return made.sign(self._key, SHA256()).public_bytes(Encoding.PEM).decode()

    def server(self, folder: Path) -> None:
        """Write a certificate as Cloud SQL's: it names the instance, not its address."""
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        for file, text in {
            "server.crt": self._signed("shop-test-1:shop", key.public_key()),
            "server.key": private,
        }.items():
            (folder / file).write_text(text)
            (folder / file).chmod(0o600)


@dataclass(frozen=True)
class Server:
    url: str
    ca: str
    socket: str

    def settings(self, ca: str) -> Settings:
        command = self.url.replace("/event_store", "/command")
        return Settings(event_store_url=self.url, command_database_url=command, database_ca=ca)

    def turn(self, tls: str) -> None:
        """Turn TLS on or off, and return when new connections see it."""
        local = f"host={self.socket} user=postgres dbname=postgres"
        with psycopg.connect(local, autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET ssl = {tls}".encode())
            connection.execute("SELECT pg_reload_conf()")

        def turned() -> bool:
            with psycopg.connect(local) as connection:
                return connection.execute("SHOW ssl").fetchone() == (tls,)

        wait_until(turned, 20)


@pytest.fixture(scope="module")
def server(engines_wanted: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start a PostgreSQL with TLS: the machine's, because the wheel's has none."""
    programs = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"))] or [
        Path(shutil.which("initdb") or "/none/initdb").parent
    ]
    if not (programs[-1] / "initdb").exists():
        pytest.skip("needs a PostgreSQL with TLS; on Debian: apt-get install postgresql")
    home, port, authority = tmp_path_factory.mktemp("tls"), free_port(), Authority("shop's own CA")
    for folder in (home, *home.parents[:2]):
        folder.chmod(0o755)
    data = home / "data"
    data.mkdir(mode=0o700)
    user = pwd.getpwnam("postgres").pw_uid if os.geteuid() == 0 else os.geteuid()  # PostgreSQL refuses to run as root
    os.chown(data, user, -1)

    def run(program: str, *arguments: str) -> None:
        command: list[str | Path] = [programs[-1] / program, "-D", data, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=data, user=user)

    run("initdb", "--username=postgres", "--auth=trust")
    (data / "pg_hba.conf").write_text(HBA)
    with (data / "postgresql.conf").open("a") as settings:
        settings.write("ssl = on\n")  # where ALTER SYSTEM can override it
    authority.server(data)
    for file in ("server.crt", "server.key"):
        os.chown(data / file, user, -1)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data} -c fsync=off"
    run("pg_ctl", "-w", "-l", str(data / "log"), "-o", options, "start")
    with psycopg.connect(f"host={data} port={port} user=postgres dbname=postgres", autocommit=True) as connection:
        connection.execute(f"CREATE ROLE \"{USER}\" LOGIN PASSWORD '{TOKEN}'".encode())
        for name in ("event_store", "command"):
            connection.execute(f"CREATE DATABASE {name}".encode())
    yield Server(f"postgresql://postgres@127.0.0.1:{port}/event_store", authority.certificate, f"{data} port={port}")
    run("pg_ctl", "-w", "-m", "fast", "stop")


def test_a_token_signs_in_over_a_verified_connection(server: Server) -> None:
    url = verified(server.url.replace("postgres@", USER.replace("@", "%40") + "@"), server.ca)
    with connect(url, 1, lambda: TOKEN) as pool:
        query = """SELECT usename::text, ssl, inet_server_addr() IS NOT NULL
            FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE pid = pg_backend_pid()"""
        assert pool.rows("the store", query) == [(USER, True, True)]


def test_functions_and_migrations_connect_as_the_settings_say(server: Server) -> None:
    engines = Engines(server.settings(server.ca))
    assert engines.missing_migrations("event_store") == [file.name for file in numbered(SQL_FOLDERS["event_store"])]
    assert migrate_all(server.settings(server.ca))
    assert engines.missing_migrations("event_store") == []
    engines.close()


def test_another_server_gets_no_token(server: Server) -> None:
    another = Authority("shop's own CA").certificate
    with pytest.raises(psycopg.OperationalError, match="SSL error"):
        psycopg.connect(verified(server.url, another), password=TOKEN)
    engines = Engines(server.settings(another))
    with pytest.raises(Unavailable):
        engines.missing_migrations("event_store")
    engines.close()


def test_a_right_to_sign_in_that_is_not_known_yet_is_waited_for(server: Server) -> None:
    maintenance = server.url.replace("postgres@", USER.replace("@", "%40") + "@").replace("/event_store", "/postgres")
    url, tries = verified(maintenance, server.ca), count(1)

    def known_at_the_third() -> list[str]:
        with psycopg.connect(server.url, autocommit=True) as connection:
            password = TOKEN if next(tries) == 3 else "another"
            connection.execute(f"ALTER ROLE \"{USER}\" PASSWORD '{password}'".encode())
        psycopg.connect(url, password=TOKEN).close()
        return ["migrated"]

    assert until_signed_in(known_at_the_third, patience=40) == ["migrated"]

    def unknown() -> list[str]:
        psycopg.connect(url, password="wrong").close()
        return []

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        until_signed_in(unknown, patience=0)


def test_while_the_server_changes_its_ca_both_are_accepted(server: Server) -> None:
    with psycopg.connect(verified(server.url, Authority("the next CA").certificate + server.ca)) as connection:
        assert connection.pgconn.ssl_in_use


def test_a_server_without_tls_is_refused(server: Server) -> None:
    server.turn("off")
    try:
        with pytest.raises(psycopg.OperationalError, match="server does not support SSL"):
            psycopg.connect(verified(server.url, server.ca))
    finally:
        server.turn("on")
