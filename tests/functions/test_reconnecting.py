"""After an outage of Firestore or Pub/Sub, gRPC tries to connect every five seconds, not every two
minutes."""

from typing import Any

import google.auth
import grpc
import pytest
from google.api_core import grpc_helpers
from google.auth.credentials import AnonymousCredentials

from shared.config.settings import Settings
from shared.messaging.pubsub import ReconnectingTransport
from shared.runtime.engines import Engines

OPTION = ("grpc.max_reconnect_backoff_ms", 5_000)


class Made(Exception):
    """A channel was asked for."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The options of the channels that were asked for; none is made."""
    options: list[Any] = []

    def make(*_: Any, **more: Any) -> None:
        options.append(more.get("options"))
        raise Made

    monkeypatch.setattr(grpc, "insecure_channel", make)
    monkeypatch.setattr(grpc_helpers, "create_channel", make)
    return options


def test_pubsub(asked: list[Any]) -> None:
    with pytest.raises(Made):
        ReconnectingTransport(credentials=AnonymousCredentials())
    assert asked[0].count(OPTION) == 1
    assert len(asked[0]) > 1


@pytest.mark.parametrize("emulated", [True, False])
def test_firestore(asked: list[Any], monkeypatch: pytest.MonkeyPatch, emulated: bool) -> None:
    if emulated:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:9")
    else:
        monkeypatch.delenv("FIRESTORE_EMULATOR_HOST", raising=False)
        monkeypatch.setattr(google.auth, "default", lambda *_, **__: (AnonymousCredentials(), "shop"))
    for _ in range(2):  # a second client of the process adds nothing
        with pytest.raises(Made):
            Engines(Settings()).read_models.update("health", "probe", lambda _: None)
    assert [options.count(OPTION) for options in asked] == [1, 1]
