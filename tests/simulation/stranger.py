"""Callers without rights: each asks whatever the schema lets a client ask, and repeats the requests
of others. No answer may tell them anything personal or do a thing."""

import json
from collections.abc import Mapping
from typing import Any

from scripts.local.token import emulator_token
from tests.simulation.graphql import PERSONAL, ask
from tests.simulation.people import UNCLEAR, People
from tests.simulation.questions import Question, questions

_NAME = "stranger"
_REFUSALS = {"UNAUTHENTICATED", "FORBIDDEN"}
_UNKNOWN = {"SERVICE_UNAVAILABLE", "TIMEOUT", "NOT_FOUND"}
_CALLERS: tuple[Mapping[str, str], ...] = (
    {},
    {"Authorization": f"Bearer {emulator_token(f'{_NAME}@example.com', _NAME)}"},
    {"Authorization": "Bearer nonsense"},
)
"""Without sign-in, as a customer who has ordered nothing, and with an invalid token."""


class Stranger:
    def __init__(self, people: People) -> None:
        self.people, self.shop, self.tape = people, people.shop, people.tape

    def ask_something(self, times: int) -> None:
        """Ask questions of the schema by GraphQL, in an instance of its function."""
        for _ in range(times):
            operation = ("query", "mutation")[self.tape.choose("a stranger's operation", 3) // 2]
            those = questions(operation)
            self._ask(operation, those[self.tape.choose(f"a stranger's {operation}", len(those))])

    def _ask(self, operation: str, question: Question) -> None:
        headers = dict(_CALLERS[self.tape.choose("who the stranger is", len(_CALLERS))])
        if operation == "mutation":
            headers["Idempotency-Key"] = str(self.people.world.new_id())
        answer = ask(self.people.world, question.text, question.variables(self._known()), headers)
        self.shop.faults.marks["a question of a stranger"] += 1
        self._judge(f"{operation} {question.field}", answer)
        if operation == "mutation" and any((answer.get("data") or {}).values()):
            self.people.broken.append(f"a stranger may {question.field}: {json.dumps(answer)[:300]}")

    def _judge(self, what: str, answer: Any) -> None:
        shown = json.dumps(answer)
        if PERSONAL.search(shown):
            self.people.broken.append(f"a stranger sees with {what}: {shown}")
        codes = {one["extensions"]["code"] for one in answer.get("errors", ())}
        if codes - _UNKNOWN - _REFUSALS:
            self.people.broken.append(f"a stranger is answered {codes} to {what}: {shown[:300]}")

    def _known(self) -> Mapping[str, Any]:
        """Return values for the arguments of questions, which name what there is."""
        orders, letters = sorted(map(str, self.people.orders())), self.shop.databases.letters.latest(1)
        product = self.people.products[0]["productId"] if self.people.products else self.people.category
        order = orders[0] if orders else product
        return {
            "id": order,
            "category.id": self.people.category,
            "product.id": product,
            "eventCausation.id": 1,
            "deadLetter.id": str(letters[0].id) if letters else order,
            "aggregateId": order,
            "orderId": order,
            "productId": product,
            "categoryId": self.people.category,
            "userId": "customer 0",
            "name": "project_orders",
            "serviceName": "create_order",
            "fromStep": "reserve_inventory",
        }

    def repeat_others(self) -> None:
        """Send a command of another caller again, under the same key and a new one."""
        for function, (body, key) in sorted(self.people.requests.latest.items()):
            if self.tape.choose("a stranger repeats a command", 2):
                for its_key in (key, str(self.people.world.new_id())):
                    headers = {"X-Actor": _NAME, "X-Role": "writer", "Idempotency-Key": its_key}
                    answer = self.shop.ask(function, body, headers)
                    self.shop.faults.marks["a command of a stranger"] += 1
                    if answer.status not in (403, 404, 409, *UNCLEAR) or PERSONAL.search(answer.text):
                        what = f"{function} {json.dumps(body)}"
                        self.people.broken.append(f"a stranger is answered {answer.status} {answer.text} to {what}")
