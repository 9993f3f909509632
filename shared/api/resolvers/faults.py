"""The fault lab: admins break the sandbox's providers and stop projections, to see what the shop
does about it."""

from typing import Any

import httpx

from shared.api.command_client import keyed, send
from shared.api.context import Info, Resolvers, Text
from shared.api.resolvers.common import require_admin
from shared.api.resolvers.executions import START, STOP
from shared.api.resolvers.operators import why
from shared.api.resolvers.projections import projection_now
from shared.auth.identity import authorization, in_the_cloud
from shared.config.manifest import manifest
from shared.config.settings import Settings
from shared.domain.errors import Path, Rejected, Unavailable
from shared.gateways.sandbox import SetFault
from shared.monitoring.recorder import watched
from shared.read_models.protocol import Fields

_SECONDS = 5.0
_KINDS = {"PAYMENT": "payments", "SHIPPING": "shipments", "NOTIFICATION": "notifications"}
_STOP_MINUTES = 5


def has_lab(settings: Settings) -> bool:
    """Return whether the sandbox may be broken for trials; by default except in the cloud."""
    return not in_the_cloud() if settings.fault_lab is None else settings.fault_lab


def _require_lab(info: Info, argument: Path) -> None:
    """Raise Unauthenticated or Forbidden unless the actor is an admin, Rejected without a lab."""
    require_admin(info)
    if not has_lab(info.context.engines.settings):
        raise Rejected("this shop has no fault lab: only a shop with the sandbox provider can be broken", argument)


async def faults(_: Any, info: Info) -> list[Fields]:
    """Return the fault of each provider; none where there is no sandbox."""
    return _shown(await _ask(info, "GET")) if has_lab(info.context.engines.settings) else []


async def set_fault(_: Any, info: Info, provider: str, fault: str, reason: Text = None) -> Fields:
    _require_lab(info, ("provider",))
    wanted = {"provider": _KINDS[provider], "fault": fault}
    asked = {"name": provider, "action": fault, **why(reason)}
    with watched(info.context.engines.recorder, "operation", SetFault.__name__, info.context.context, asked):
        found = _shown(await _ask(info, "POST", wanted))
    return next(one for one in found if one["provider"] == provider)


def _shown(found: Fields) -> list[Fields]:
    return [{"provider": provider, "fault": found[kind]} for provider, kind in _KINDS.items()]


async def _ask(info: Info, method: str, body: Fields | None = None) -> Fields:
    """Return the sandbox's answer. Raise Unavailable."""
    engines = info.context.engines
    url = manifest().functions["sandbox_provider"].url(engines.settings)
    try:
        headers = await authorization(url)
        response = await engines.command_http.request(
            method, f"{url}/faults", json=body, headers=headers, timeout=_SECONDS
        )
        response.raise_for_status()
    except httpx.HTTPError as error:
        raise Unavailable(f"sandbox_provider does not answer: {type(error).__name__}") from error
    answer: Fields = response.json()
    return answer


async def stop_projection(_: Any, info: Info, name: str, minutes: int | None = None, reason: Text = None) -> Fields:
    _require_lab(info, ("name",))
    after = _STOP_MINUTES if minutes is None else minutes
    return await _change(info, STOP, {"name": name, "action": "STOP", "minutes": after}, reason)


async def start_projection(_: Any, info: Info, name: str, reason: Text = None) -> Fields:
    _require_lab(info, ("name",))
    return await _change(info, START, {"name": name, "action": "START"}, reason)


async def _change(info: Info, operation: str, command: Fields, reason: Text) -> Fields:
    """Stop or start a projection and return it. Record it under the operation's own name."""
    asked = command | why(reason)
    with watched(info.context.engines.recorder, "operation", operation, info.context.context, asked):
        await send(info, "rebuild_projection", command, keyed(info), operation)
    return await projection_now(info, command["name"])


RESOLVERS: Resolvers = {
    "Query": {"faults": faults},
    "Mutation": {"setFault": set_fault, "stopProjection": stop_projection, "startProjection": start_projection},
}
