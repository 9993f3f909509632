"""Signed tokens of users and service accounts, made with a key that stands in for Google's."""

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

PROJECT, KID = "shop-project", "key-1"
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


@pytest.fixture
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


def unsigned(**changes: Any) -> str:
    parts = [{"alg": "none", "typ": "JWT", "kid": KID}, claims(**changes)]
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in parts), ""])


GRAPHQL = "shop-graphql@shop.iam.gserviceaccount.com"
HERE = "https://shop-create-order-1.asia-northeast1.run.app"


def service_token(key: rsa.RSAPrivateKey = KEY, **changes: Any) -> str:
    """Return an ID token as Google's metadata server issues it to a service account."""
    account: Claims = {"iss": "https://accounts.google.com", "aud": HERE, "email": GRAPHQL, "email_verified": True}
    return token(key, **account | changes)


def from_cloud_run(encoded: str) -> str:
    """Return the token as Cloud Run hands it to the function after verifying it."""
    return f"{encoded.rpartition('.')[0]}.SIGNATURE_REMOVED_BY_GOOGLE"
