"""A payment and shipping provider for trying the shop: PUT, DELETE and GET on /payments and /shipments."""

import json

import flask

from shared.domain.errors import NotFound
from shared.gateways.sandbox import ProviderRequest, SetFault
from shared.runtime.decode import decode, parse_json
from shared.runtime.engines import engines
from shared.runtime.http import body_of, http_function, json_response


@http_function
def sandbox_provider(request: flask.Request) -> flask.Response:
    return json_response(json.dumps(_answer(request)))


def _answer(request: flask.Request) -> object:
    sandbox = engines().sandbox
    match request.method, request.path.strip("/").split("/"):
        case "PUT", [("payments" | "shipments") as kind, key]:
            return sandbox.make(kind, key, decode(ProviderRequest, parse_json(body_of(request, 10_000))))
        case "DELETE", [("payments" | "shipments") as kind, key]:
            return sandbox.undo(kind, key)
        case "GET", [("payments" | "shipments") as kind]:
            return sandbox.ledger(kind)
        case "POST", ["faults"]:
            sandbox.set_fault(decode(SetFault, parse_json(body_of(request, 10_000))))
            return sandbox.faults()
        case "GET", ["faults"]:
            return sandbox.faults()
        case _:
            raise NotFound(
                "use PUT or DELETE on /payments/KEY or /shipments/KEY, or GET on /payments, /shipments or /faults"
            )
