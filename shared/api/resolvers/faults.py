"""Faults of the sandbox provider, for people who learn what the shop does about them."""

from typing import Any

import httpx

from shared.api.context import Info, Resolvers
from shared.api.resolvers.common import require_admin
from shared.auth.identity import in_the_cloud
from shared.config.manifest import manifest
from shared.domain.errors import Rejected, Unavailable
from shared.gateways.sandbox import SetFault
from shared.monitoring.recorder import watched
from shared.read_models.protocol import Fields

_SECONDS = 5.0
_KINDS = {"PAYMENT": "payments", "SHIPPING": "shipments", "NOTIFICATION": "notifications"}


async def faults(_: Any, info: Info) -> list[Fields]:
    """Return the fault of each provider; none in the cloud, where only saga steps may call the
    sandbox."""
    return [] if in_the_cloud() else _shown(await _ask(info, "GET"))


async def set_fault(_: Any, info: Info, provider: str, fault: str) -> Fields:
    require_admin(info)
    if in_the_cloud():
        raise Rejected("only a shop on a developer's machine has providers with faults", ("provider",))
    wanted = {"provider": _KINDS[provider], "fault": fault}
    asked = {"name": provider, "action": fault}
    with watched(info.context.engines.recorder, "operation", SetFault.__name__, info.context.context, asked):
        found = _shown(await _ask(info, "POST", wanted))
    return next(one for one in found if one["provider"] == provider)


def _shown(found: Fields) -> list[Fields]:
    return [{"provider": provider, "fault": found[kind]} for provider, kind in _KINDS.items()]


async def _ask(info: Info, method: str, body: Fields | None = None) -> Fields:
    """Return the sandbox's answer. Raise Unavailable."""
    engines = info.context.engines
    url = f"{manifest().functions['sandbox_provider'].url(engines.settings)}/faults"
    try:
        response = await engines.command_http.request(method, url, json=body, timeout=_SECONDS)
        response.raise_for_status()
    except httpx.HTTPError as error:
        raise Unavailable(f"sandbox_provider does not answer: {type(error).__name__}") from error
    answer: Fields = response.json()
    return answer


RESOLVERS: Resolvers = {"Query": {"faults": faults}, "Mutation": {"setFault": set_fault}}
