"""Tokens are verified for real, with signatures of a test key that stands in for Google's."""

import base64
import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from google.auth.exceptions import TransportError
from google.oauth2 import id_token

from scripts.local.token import PROJECT as EMULATED_PROJECT
from scripts.local.token import emulator_token
from shared.auth.identity import EmulatorInTheCloud, identify, refuse_emulator_in_the_cloud, require_caller, role_of
from shared.auth.permissions import ANONYMOUS, Actor, Role
from shared.domain.errors import Forbidden, Unavailable
from tests.signed_tokens import (
    CERTIFICATE,
    GRAPHQL,
    HERE,
    KID,
    OTHER_KEY,
    PROJECT,
    Claims,
    claims,
    from_cloud_run,
    googles_keys,
    service_token,
    token,
    unsigned,
)

__all__ = ["googles_keys"]

ADMIN = "Owner@Example.com"
FETCH_CERTIFICATES = id_token._fetch_certs
pytestmark = pytest.mark.usefixtures("googles_keys")


def actor(encoded: str) -> Actor:
    return identify(f"Bearer {encoded}", PROJECT, ADMIN)


def test_a_valid_token_identifies_a_writer() -> None:
    assert actor(token()) == Actor("uid-1", Role.WRITER)


def test_an_anonymous_user_is_a_reader() -> None:
    assert identify(None, PROJECT, ADMIN) == ANONYMOUS
    assert ANONYMOUS.role is Role.READER


def signed_with_the_public_key() -> str:
    """Return a token for algorithm confusion: an HMAC whose secret is public. PyJWT refuses to make
    one."""
    import hashlib
    import hmac

    parts = [{"alg": "HS256", "typ": "JWT", "kid": KID}, claims()]
    body = ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in parts)
    mac = hmac.new(CERTIFICATE.encode(), body.encode(), hashlib.sha256).digest()
    return f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def tampered() -> str:
    head, _, signature = token().split(".")
    forged = base64.urlsafe_b64encode(json.dumps(claims(role="admin")).encode()).rstrip(b"=").decode()
    return f"{head}.{forged}.{signature}"


@pytest.mark.parametrize(
    "make",
    [
        lambda: token(OTHER_KEY),
        lambda: token(kid="unknown"),
        lambda: token(aud="another-project"),
        lambda: token(iss="https://securetoken.google.com/another-project"),
        lambda: token(iss="https://evil.example.com"),
        lambda: token(exp=int(time.time()) - 60, iat=int(time.time()) - 3600),
        lambda: token(iat=int(time.time()) + 600),
        lambda: token(sub=""),
        lambda: token(sub="x" * 129),
        lambda: token(sub=7),
        unsigned,
        signed_with_the_public_key,
        tampered,
        lambda: emulator_token("owner@example.com", role="admin"),
        lambda: "garbage",
        lambda: "a.b.c",
        lambda: token()[:-10],
        lambda: "é" * 50,
    ],
)
def test_an_invalid_token_is_anonymous_with_a_reason(make: Callable[[], str]) -> None:
    found = actor(make())
    assert (found.uid, found.role) == (None, Role.READER)
    assert found.problem


@pytest.mark.parametrize("text", ["garbage", "a.b.c", "..", "é.é.é", "eyJ.eyJ.", "a" * 5000, "[1]", "null"])
def test_a_token_that_cannot_be_parsed_is_refused_in_our_words(text: str) -> None:
    problem = "the ID token is not valid: it is no Firebase ID token; sign in again"
    assert actor(text) == Actor(problem=problem)


@pytest.mark.parametrize("header", ["Basic abc", "Bearer", "Bearer ", "", "token", "Bearer a b"])
def test_a_header_without_a_token_is_anonymous(header: str) -> None:
    assert identify(header, PROJECT, ADMIN).uid is None


@pytest.mark.parametrize(("lifetime", "valid"), [(60, True), (-60, False)])
def test_an_expired_token_of_the_emulator_says_so(monkeypatch: pytest.MonkeyPatch, lifetime: int, valid: bool) -> None:
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    header = f"Bearer {emulator_token('ann@example.com', lifetime=lifetime)}"
    found = identify(header, EMULATED_PROJECT, ADMIN)
    assert (found.uid, found.problem) == (("ann", None) if valid else (None, "the ID token has expired; sign in again"))


def test_an_expired_token_says_so() -> None:
    found = actor(token(exp=int(time.time()) - 60, iat=int(time.time()) - 3600))
    assert found.problem is not None
    assert "expired" in found.problem


def signed_in_by(provider: str) -> Claims:
    return {"firebase": {"sign_in_provider": provider, "identities": {"email": ["owner@example.com"]}}}


GOOGLE = signed_in_by("google.com")
UNPROVEN = ["password", "custom", "anonymous", "phone", "facebook.com", "saml.any", "oidc.any", "Google.com", ""]
"""Providers that take any address, or with which anybody could have registered it. E-mail links
count as "password"."""


@pytest.mark.parametrize(
    ("changes", "role"),
    [
        ({"email": "owner@example.com", **GOOGLE}, Role.ADMIN),
        ({"email": "OWNER@example.COM", **GOOGLE}, Role.ADMIN),
        ({"email": "owner@example.com", "email_verified": False, **GOOGLE}, Role.WRITER),
        ({"email": "owner@example.com", "email_verified": "true", **GOOGLE}, Role.WRITER),
        ({"email": "owner@example.com", "email_verified": None, **GOOGLE}, Role.WRITER),
        ({"email": "owner@example.com.evil.com", **GOOGLE}, Role.WRITER),
        ({"email": " owner@example.com", **GOOGLE}, Role.WRITER),
        ({"email": "ownër@example.com", **GOOGLE}, Role.WRITER),
        ({"email": None, **GOOGLE}, Role.WRITER),
        *(({"email": "owner@example.com", **signed_in_by(one)}, Role.WRITER) for one in UNPROVEN),
        ({"email": "owner@example.com"}, Role.WRITER),
        ({"email": "owner@example.com", "firebase": "google.com"}, Role.WRITER),
        ({"email": "owner@example.com", "role": "admin", **signed_in_by("password")}, Role.ADMIN),
        ({"email": "owner@example.com", "role": "writer", **GOOGLE}, Role.WRITER),
        ({"email": "owner@example.com", "role": "reader"}, Role.READER),
        ({"email": "owner@example.com", "email_verified": False, "role": "admin"}, Role.ADMIN),
        ({"role": "writer"}, Role.WRITER),
        ({"role": "superuser"}, Role.READER),
        ({"role": None}, Role.READER),
        ({"role": ["admin"]}, Role.READER),
    ],
)
def test_the_role_follows_from_the_claims(changes: Claims, role: Role) -> None:
    assert actor(token(**changes)) == Actor("uid-1", role)


def test_scripts_token_makes_an_admin_of_a_google_account_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    for provider, role in (("google.com", Role.ADMIN), ("password", Role.WRITER)):
        header = f"Bearer {emulator_token(ADMIN, uid='ann', provider=provider)}"
        assert identify(header, EMULATED_PROJECT, ADMIN) == Actor("ann", role)


def test_without_an_admin_address_no_address_makes_an_admin() -> None:
    assert role_of({"email": "", "email_verified": True, **GOOGLE}, "") is Role.WRITER


def test_a_kelvin_sign_does_not_match_a_k() -> None:
    claims = {"email": "\u212aen@example.com", "email_verified": True, **GOOGLE}
    assert role_of(claims, "ken@example.com") is Role.WRITER


def test_the_emulator_is_refused_in_the_cloud() -> None:
    emulated = {"FIREBASE_AUTH_EMULATOR_HOST": "127.0.0.1:9099"}
    refuse_emulator_in_the_cloud(emulated)
    refuse_emulator_in_the_cloud({"K_SERVICE": "graphql"})
    with pytest.raises(EmulatorInTheCloud):
        refuse_emulator_in_the_cloud(emulated | {"K_SERVICE": "graphql"})


@pytest.fixture
def in_cloud_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K_SERVICE", "shop-create-order")


@pytest.mark.usefixtures("in_cloud_run")
@pytest.mark.parametrize("handed_over", [str, from_cloud_run], ids=["signed", "verified by Cloud Run"])
def test_in_the_cloud_only_the_named_accounts_may_call(handed_over: Callable[[str], str]) -> None:
    for callers in (GRAPHQL, f"shop-push@shop.iam.gserviceaccount.com {GRAPHQL}"):
        require_caller(f"Bearer {handed_over(service_token())}", callers, HERE)
        require_caller(f"bearer {handed_over(service_token())}", callers, HERE)
    for changes in (
        {"email": "other@shop.iam.gserviceaccount.com"},
        {"email": GRAPHQL.upper()},
        {"email_verified": False},
        {"email_verified": "true"},
        {"aud": "https://shop-create-product-1.asia-northeast1.run.app"},
        {"aud": [HERE, "https://elsewhere.example.com"]},
        {"exp": int(time.time()) - 60, "iat": int(time.time()) - 3600},
    ):
        with pytest.raises(Forbidden):
            require_caller(f"Bearer {handed_over(service_token(**changes))}", GRAPHQL, HERE)
    for callers, email in (("", ""), ("", GRAPHQL), (f"{GRAPHQL}.example.com", GRAPHQL), (f"x{GRAPHQL}", GRAPHQL)):
        with pytest.raises(Forbidden):
            require_caller(f"Bearer {handed_over(service_token(email=email))}", callers, HERE)


@pytest.mark.usefixtures("in_cloud_run")
@pytest.mark.parametrize(
    "make",
    [
        lambda: service_token(OTHER_KEY),
        lambda: token(iss="https://accounts.google.com", aud=HERE, email=GRAPHQL, kid="unknown"),
        lambda: service_token(iss="https://evil.example.com"),
        lambda: unsigned(iss="https://accounts.google.com", aud=HERE, email=GRAPHQL),
        lambda: from_cloud_run(unsigned(iss="https://accounts.google.com", aud=HERE, email=GRAPHQL)),
        lambda: service_token()[:-10],
        lambda: f"{service_token(OTHER_KEY)},Bearer {from_cloud_run(service_token())}",
        lambda: "x",
        lambda: "a.b.c",
        lambda: "a.b.SIGNATURE_REMOVED_BY_GOOGLE",
        lambda: from_cloud_run(".".join(base64.urlsafe_b64encode(p).decode() for p in (b"{}", b"[" * 1500, b""))),
        lambda: "",
    ],
)
def test_in_the_cloud_a_forged_callers_token_is_refused(make: Callable[[], str]) -> None:
    with pytest.raises(Forbidden):
        require_caller(f"Bearer {make()}", GRAPHQL, HERE)


@pytest.mark.usefixtures("in_cloud_run")
@pytest.mark.parametrize("header", ["", "Bearer", "Basic abc"])
def test_in_the_cloud_a_caller_needs_a_token(header: str) -> None:
    with pytest.raises(Forbidden, match="Authorization: Bearer TOKEN"):
        require_caller(header, GRAPHQL, HERE)
    with pytest.raises(Forbidden):
        require_caller(f"Basic {service_token()}", GRAPHQL, HERE)


def test_on_a_developers_machine_every_caller_is_taken() -> None:
    require_caller("", "", "")


@pytest.mark.usefixtures("in_cloud_run")
def test_a_caller_that_cannot_be_verified_may_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object) -> None:
        raise TransportError("no route")

    monkeypatch.setattr("google.oauth2.id_token._fetch_certs", down)
    with pytest.raises(Unavailable, match="cannot be verified"):
        require_caller(f"Bearer {service_token()}", GRAPHQL, HERE)
    for header in ("", "Bearer x", f"Bearer {unsigned(email=GRAPHQL)}"):  # for these no key is needed
        with pytest.raises(Forbidden):
            require_caller(header, GRAPHQL, HERE)


@pytest.mark.usefixtures("in_cloud_run")
def test_googles_keys_are_fetched_once_for_many_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Google(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps({KID: CERTIFICATE}).encode()
            self.send_response(200)
            self.send_header("Cache-Control", "public, max-age=20000")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setattr("google.oauth2.id_token._fetch_certs", FETCH_CERTIFICATES)
    with ThreadingHTTPServer(("127.0.0.1", 0), Google) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/certs"
        monkeypatch.setattr("google.oauth2.id_token._GOOGLE_OAUTH2_CERTS_URL", url)
        for _ in range(5):
            require_caller(f"Bearer {service_token()}", GRAPHQL, HERE)
        with pytest.raises(Forbidden):
            require_caller(f"Bearer {service_token(OTHER_KEY)}", GRAPHQL, HERE)
        server.shutdown()
    assert asked == ["/certs"]


@pytest.mark.parametrize("uid", ["nobody", "system", "developer", "a\ud800", "a\0"])
def test_reserved_and_unprintable_user_ids_are_refused(uid: str) -> None:
    found = actor(token(sub=uid))
    assert found.uid is None
    assert found.problem is not None


def test_a_token_nested_a_thousand_times_is_not_valid() -> None:
    parts = [base64.urlsafe_b64encode(part).decode() for part in (b'{"alg":"RS256","kid":"x"}', b"[" * 1500)]
    found = actor(f"{parts[0]}.{parts[1]}.x")
    assert found.uid is None
    assert len(found.problem or "") < 300


def test_a_token_that_cannot_be_verified_is_not_taken_for_anonymous(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object) -> None:
        raise TransportError("no route")

    monkeypatch.setattr("google.oauth2.id_token._fetch_certs", down)
    with pytest.raises(Unavailable, match="cannot be verified"):
        actor(token())


def test_user_ids_may_be_in_any_script() -> None:
    assert actor(token(sub="花" * 23)).uid == "花" * 23
