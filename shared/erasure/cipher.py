"""AES-256-GCM with a random nonce before the text. What was encrypted for one place opens at no
other."""

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.resilience import clock

_NONCE = 12  # bytes


def encrypt(key: bytes, text: bytes, place: bytes) -> bytes:
    nonce = clock.secret(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, text, place)


def decrypt(key: bytes, encrypted: bytes, place: bytes) -> bytes:
    """Raise cryptography's InvalidTag when the text was changed, or is not at its place."""
    return AESGCM(key).decrypt(encrypted[:_NONCE], encrypted[_NONCE:], place)
