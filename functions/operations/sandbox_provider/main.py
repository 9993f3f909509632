"""A payment, shipping and notification provider for trying the shop: PUT, DELETE and GET on
/payments, /shipments and /notifications."""

import json

import flask

from shared.auth.permissions import SYSTEM
from shared.domain.errors import NotFound
from shared.domain.order import ORDER
from shared.gateways.sandbox import ProviderRequest, SetFault
from shared.observability.context import annotate
from shared.runtime.command import context_of
from shared.runtime.current import engines
from shared.runtime.decode import decode, parse_json
from shared.runtime.http import body_of, http_function, json_response


@http_function
def sandbox_provider(request: flask.Request) -> flask.Response:
    return json_response(json.dumps(_answer(request)))


def _answer(request: flask.Request) -> object:
    sandbox, path = engines().sandbox, request.path.strip("/").split("/")
    subject = f"{ORDER.name}-{path[1]}" if len(path) == 2 else None  # the key is the order's id
    annotate(context=context_of(request, SYSTEM), subject=subject)
    match request.method, path:
        case "PUT", [("payments" | "shipments" | "notifications") as kind, key]:
            return sandbox.make(kind, key, decode(ProviderRequest, parse_json(body_of(request, 10_000))))
        case "DELETE", [("payments" | "shipments" | "notifications") as kind, key]:
            return sandbox.undo(kind, key)
        case "GET", [("payments" | "shipments" | "notifications") as kind]:
            return sandbox.ledger(kind)
        case "POST", ["faults"]:
            sandbox.set_fault(decode(SetFault, parse_json(body_of(request, 10_000))))
            return sandbox.faults()
        case "GET", ["faults"]:
            return sandbox.faults()
        case _:
            raise NotFound(
                "use PUT or DELETE on /payments/KEY, /shipments/KEY or /notifications/KEY, "
                "or GET on /payments, /shipments, /notifications or /faults"
            )
