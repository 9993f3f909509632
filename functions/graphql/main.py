"""The only entry point for clients: GraphQL over HTTP at /graphql, and the console for browsers at
/."""

from typing import Any

import functions_framework.aio
from starlette.requests import Request

from shared.api.app import application
from shared.auth.identity import refuse_emulator_in_the_cloud

refuse_emulator_in_the_cloud()


@functions_framework.aio.http
async def graphql(request: Request) -> Any:  # an ASGI application, which Starlette calls
    return application(request.scope["path"])
