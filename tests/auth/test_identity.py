"""Tokens are verified for real, with signatures of a test key that stands in for Google's."""

import base64
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from google.auth.exceptions import TransportError

from scripts.local.token import emulator_token
from shared.auth.identity import EmulatorInTheCloud, identify, refuse_emulator_in_the_cloud, require_caller, role_of
from shared.auth.permissions import ANONYMOUS, Actor, Role
from shared.domain.errors import Forbidden, Unavailable

PROJECT, ADMIN, KID = "shop-project", "Owner@Example.com", "key-1"
Claims = dict[str, Any]


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def certificate(key: rsa.RSAPrivateKey) -> str:
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "securetoken")]), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    signed = (
        builder.not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return signed.public_bytes(serialization.Encoding.PEM).decode()


KEY, OTHER_KEY = new_key(), new_key()
CERTIFICATE = certificate(KEY)


@pytest.fixture(autouse=True)
def googles_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use no emulator, and the test's certificate instead of Google's."""
    monkeypatch.delenv("FIREBASE_AUTH_EMULATOR_HOST", raising=False)
    monkeypatch.setattr("google.oauth2.id_token._fetch_certs", lambda request, url: {KID: CERTIFICATE})


def claims(**changes: Any) -> Claims:
    now = int(time.time())
    standard = {
        "iss": f"https://securetoken.google.com/{PROJECT}",
        "aud": PROJECT,
        "sub": "uid-1",
        "iat": now - 60,
        "exp": now + 3600,
        "email": "hanako@example.com",
        "email_verified": True,
    }
    return standard | changes


def token(key: rsa.RSAPrivateKey = KEY, kid: str = KID, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, "RS256", headers={"kid": kid})


def actor(encoded: str) -> Actor:
    return identify(f"Bearer {encoded}", PROJECT, ADMIN)


def test_a_valid_token_identifies_a_writer() -> None:
    assert actor(token()) == Actor("uid-1", Role.WRITER)


def test_an_anonymous_user_is_a_reader() -> None:
    assert identify(None, PROJECT, ADMIN) == ANONYMOUS
    assert ANONYMOUS.role is Role.READER


def unsigned(**changes: Any) -> str:
    parts = [{"alg": "none", "typ": "JWT", "kid": KID}, claims(**changes)]
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in parts), ""])


def signed_with_the_public_key() -> str:
    """Return a token for algorithm confusion: an HMAC whose secret is public. PyJWT refuses to make one."""
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


@pytest.mark.parametrize("header", ["Basic abc", "Bearer", "Bearer ", "", "token", "Bearer a b"])
def test_a_header_without_a_token_is_anonymous(header: str) -> None:
    assert identify(header, PROJECT, ADMIN).uid is None


def test_an_expired_token_says_so() -> None:
    found = actor(token(exp=int(time.time()) - 60, iat=int(time.time()) - 3600))
    assert found.problem is not None
    assert "expired" in found.problem


@pytest.mark.parametrize(
    ("changes", "role"),
    [
        ({"email": "owner@example.com"}, Role.ADMIN),
        ({"email": "OWNER@example.COM"}, Role.ADMIN),
        ({"email": "owner@example.com", "email_verified": False}, Role.WRITER),
        ({"email": "owner@example.com", "email_verified": "true"}, Role.WRITER),
        ({"email": "owner@example.com", "email_verified": None}, Role.WRITER),
        ({"email": "owner@example.com.evil.com"}, Role.WRITER),
        ({"email": " owner@example.com"}, Role.WRITER),
        ({"email": "ownër@example.com"}, Role.WRITER),
        ({"email": None}, Role.WRITER),
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


def test_without_an_admin_address_no_address_makes_an_admin() -> None:
    assert role_of({"email": "", "email_verified": True}, "") is Role.WRITER


def test_a_kelvin_sign_does_not_match_a_k() -> None:
    assert role_of({"email": "\u212aen@example.com", "email_verified": True}, "ken@example.com") is Role.WRITER


def test_the_emulator_is_refused_in_the_cloud() -> None:
    emulated = {"FIREBASE_AUTH_EMULATOR_HOST": "127.0.0.1:9099"}
    refuse_emulator_in_the_cloud(emulated)
    refuse_emulator_in_the_cloud({"K_SERVICE": "graphql"})
    with pytest.raises(EmulatorInTheCloud):
        refuse_emulator_in_the_cloud(emulated | {"K_SERVICE": "graphql"})


def test_in_the_cloud_only_the_graphql_function_may_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cloud Run has checked the signature and removed it."""
    caller = "graphql@shop.iam.gserviceaccount.com"

    def stripped(**given: Any) -> str:
        return f"Bearer {jwt.encode(given, 'x' * 32, 'HS256').rpartition('.')[0]}.SIGNATURE_REMOVED_BY_GOOGLE"

    require_caller(None, "")
    monkeypatch.setenv("K_SERVICE", "create-order")
    require_caller(stripped(email=caller, email_verified=True), caller)
    for header in (
        None,
        "",
        "Bearer x",
        "Bearer a.b.c",
        stripped(email="other@shop.iam.gserviceaccount.com", email_verified=True),
        stripped(email=caller, email_verified=False),
        stripped(email=caller),
    ):
        with pytest.raises(Forbidden):
            require_caller(header, caller)
    with pytest.raises(Forbidden):
        require_caller(stripped(email="", email_verified=True), "")


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
