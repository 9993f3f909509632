"""The only entry point for clients: GraphQL over HTTP at /graphql, and the console for browsers at /."""

import functions_framework.aio
from starlette.requests import Request
from starlette.responses import Response

from shared.api.app import respond
from shared.auth.identity import refuse_emulator_in_the_cloud

refuse_emulator_in_the_cloud()


@functions_framework.aio.http
async def graphql(request: Request) -> Response:
    return await respond(request)
