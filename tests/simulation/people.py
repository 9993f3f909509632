"""Those who use the shop: customers, admins who keep the catalogue, operators, and a reader of read
models and log."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any, cast
from uuid import UUID

from pydantic.alias_generators import to_snake

from scripts.local.token import emulator_token
from shared.api.consistency import MAX_STREAMS, encode_token
from shared.domain.aggregate import Ref
from shared.domain.events import StockAdjusted
from shared.domain.order import ORDER
from shared.domain.product import PRODUCT
from shared.event_store.aggregates import load, records, snapshot_if_due
from shared.event_store.protocol import Append, Checkpoint, EventRecord
from shared.observability.context import fresh
from shared.read_models.documents import READ_MODELS
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from shared.sagas.status import SagaStatus
from shared.sagas.store import ListedSaga, Sagas
from tests.simulation.graphql import PERSONAL, ask
from tests.simulation.linearizable import Operation, Written
from tests.simulation.shop import Answer, Shop
from tests.simulation.stores import Documents
from tests.simulation.world import Process, driven, this_task

ADMIN = {"X-Actor": "ann", "X-Role": "admin"}
WAITS = (0.0, 0.01, 0.3, 2.0, 7.0, 31.0, 70.0, 200.0)
"""Seconds between two actions of a person."""
LONG = 510
"""Events of a long history: more than the shop reads at once."""
_EXPECTED = {"SERVICE_UNAVAILABLE", "TIMEOUT", "NOT_FOUND"}
UNCLEAR = (0, 503, 504)
"""Statuses after which the command may have been carried out."""
_CREATE = "mutation ($input: CreateOrderInput!) { createOrder(input: $input) { order { id } } }"
_LOOK = """{
    orders(limit: 20) { id userId status reason paymentId shippingId items { productName quantity } }
    products(limit: 5) { id } categories(limit: 5) { id }
}"""
_LOOK_AT_ALL = """{
    orders(limit: 20) { id userId status reason paymentId shippingId sagaStatus }
    events(limit: 200) { eventData metadata }
    recentEvents { eventData }
}"""
_LOOK_AT_ONE = """query ($id: ID!) {
    order(id: $id) { userId reason paymentId shippingId timeline { name error id causationId } }
}"""
_COLLECTIONS = {"category": "categories", "product": "products", "order": "orders"}


@dataclass
class Requests:
    """Every request to a command function, and its answers.

    `by_key`: the answers to each idempotency key. `prices`: what happened to each product's price,
    once for each key: a repeated request is answered what its first one was.
    `accepted`: the stream and version that each key's answer named. `latest`: the last body and key
    for each function. `surprises`: answers that no client should get.
    """

    by_key: dict[str, list[Operation]] = field(default_factory=lambda: defaultdict(list))
    prices: dict[str, dict[str, Operation]] = field(default_factory=lambda: defaultdict(dict))
    accepted: dict[str, tuple[str, int]] = field(default_factory=dict)
    latest: dict[str, tuple[Mapping[str, Any], str]] = field(default_factory=dict)
    surprises: list[str] = field(default_factory=list)


class People:
    """`tokens`: the version that each stream is known to have. `met`: which of these a read model
    has shown, and the collection that did. `consistent`: which of these a GraphQL answer called
    consistent. `switched`: the read models whose generation an operator has changed. `read`: the
    events that the log's reader has seen. `broken`: what a reader saw that must never be.
    `discarded`: the read models that must be rebuilt, because a message for them was discarded or
    they are ahead of a restored log."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.world, self.tape = shop, shop.world, shop.tape
        self.requests = Requests()
        self.tokens: dict[str, int] = {}
        self.met: dict[str, tuple[int, str]] = {}
        self.switched = set[str]()
        self.consistent: dict[str, int] = {}
        self.read: list[EventRecord] = []
        self.place = Checkpoint()
        self.broken: list[str] = []
        self.lost = set[str]()
        self.discarded = set[str]()
        self.products: list[dict[str, Any]] = []
        self.category = ""
        self.calm, self.busy = False, 0
        self.customers: list[str] = []

    def start(self, name: str, act: Callable[[], object]) -> None:
        """Let a person act; `busy` tells how many still do."""
        self.busy += 1

        def run() -> None:
            act()
            self.busy -= 1

        self.world.start(Process(name), run)

    def wait(self) -> None:
        self.world.sleep(WAITS[self.tape.choose(f"{this_task().process.name} waits", len(WAITS))])

    def send(
        self, function: str, body: Mapping[str, Any], headers: Mapping[str, str] = ADMIN, tries: int = 4
    ) -> Answer:
        """Send a command, and repeat it under the same key until it has a clear answer."""
        key, answer = str(self.world.new_id()), Answer(0)
        for number in range(tries):
            answer = self._once(function, body, {**headers, "Idempotency-Key": key}, key)
            again = self.tape.choose(f"{function} is repeated after its answer", 6) == 1 if not self.calm else False
            if answer.status not in UNCLEAR and not again and "CONFLICT" not in answer.text:
                break
            self.world.sleep(WAITS[1 + min(number, 5)])
        return answer

    def _once(
        self, function: str, body: Mapping[str, Any], headers: Mapping[str, str], key: str, *refusals: int
    ) -> Answer:
        """Send a command once. `refusals`: statuses that are right here and wrong elsewhere."""
        called = self.world.time
        self.requests.latest[function] = body, headers["Idempotency-Key"]
        self.world.tell(f"asks {function} {json.dumps(body)} (key …{key[-4:]})")
        answer = self.shop.ask(function, body, headers)
        self.world.tell(f"is answered {answer.status or 'nothing'} {answer.text[:140]} (key …{key[-4:]})")
        clear = answer.status == 200
        self.requests.by_key[key].append(
            Operation(called, self.world.time if clear else inf, Written(None, answer.text, clear))
        )
        if clear and "stream" in answer.text:
            self._learn(key, answer)
        if headers["X-Actor"] in self.shop.databases.keys.destroyed.values():
            refusals = (*refusals, 403)  # an order from before the erasure is nobody's
        if answer.status not in (200, 404, 409, *refusals, *UNCLEAR):
            self.requests.surprises.append(f"{function} answers {answer.status} {answer.text}")
        self._note_price(function, body, key, called, answer)
        return answer

    def _learn(self, key: str, answer: Answer) -> None:
        stream, version = answer.fields["stream"], answer.fields["version"]
        self.requests.accepted[key] = stream, version
        self.tokens[stream] = max(version, self.tokens.get(stream, 0))

    def _note_price(self, function: str, body: Mapping[str, Any], key: str, called: float, answer: Answer) -> None:
        """Note an operation on the product's price; those that were refused did nothing."""
        if function not in ("change_product_price", "adjust_stock") or answer.status in (404, 409):
            return
        read = answer.fields["entity"]["price"] if answer.status == 200 else None
        what = Written(body.get("newPrice"), read, answer.status == 200)
        returned = self.world.time if answer.status == 200 else inf
        noted = self.requests.prices[body["productId"]]
        first = noted.get(key, Operation(called, inf, what))
        if not first.answered:
            noted[key] = Operation(first.called, returned, what)

    # The catalogue

    def stock_up(self, products: int, units: int, long: bool) -> None:
        """Create a category and its products; `long`: the first product has a long history."""
        self.category = self._id()
        self.send("create_category", {"categoryId": self.category, "name": "Tea"})
        for number in range(products):
            body = {"productId": self._id(), "categoryId": self.category, "name": f"Tea {number}", "price": "500"}
            self.send("create_product", {**body, "stockQuantity": units})
            self.products.append(body)
        if long:
            self._add_a_long_history(UUID(self.products[0]["productId"]))

    def _add_a_long_history(self, product_id: UUID) -> None:
        """Add changes of stock of which all messages but the last are lost."""
        database, ref = self.shop.databases.events, Ref(PRODUCT, product_id)
        (product,) = load(database, [ref])
        events = records([product], [StockAdjusted(product_id, 1, None)] * LONG, fresh("ann"))
        database.append(Append(events))
        self.shop.databases.outboxes[0].delete([event.id for event in events[:-1]])
        snapshot_if_due(database, product.version, product.then(events))

    def keep_the_catalogue(self, times: int) -> None:
        for number in range(times):
            self.wait()
            product = self.products[self.tape.choose("the admin's product", len(self.products))]
            about = {"productId": product["productId"]}
            match self.tape.choose("the admin's deed", 9):
                case 0 | 1:
                    self.send("adjust_stock", {**about, "delta": self.tape.choose("units that arrive", 5)})
                case 2 | 3:
                    price = str(500 + self.tape.choose("the new price", 3))
                    if self.send("change_product_price", {**about, "newPrice": price}).status == 200:
                        product["price"] = price
                case 4:
                    self.send("update_product", {**about, "description": f"the best, {number}"})
                case 5:
                    self._move_to_another_category(product)
                case 6:
                    self.send("delete_category", {"categoryId": self.category})
                case 7:
                    self.send("update_category", {"categoryId": self.category, "description": f"hot, {number}"})
                case _:
                    self.send("delete_product", {"productId": self.products[-1]["productId"]})

    def _move_to_another_category(self, product: Mapping[str, Any]) -> None:
        category = self._id()
        self.send("create_category", {"categoryId": category, "name": f"More {category[-2:]}"})
        self.send("update_product", {"productId": product["productId"], "categoryId": category})

    # Customers

    def order(self, name: str) -> None:
        """Place an order and, perhaps, cancel it."""
        self.customers.append(name)
        self.wait()
        order_id, headers = self._id(), {"X-Actor": name, "X-Role": "writer"}
        chosen = self.products[: 1 + self.tape.choose("lines of an order", len(self.products))]
        lines = [
            {
                "productId": product["productId"],
                "productName": product["name"],
                "quantity": 1 + self.tape.choose("quantity", 3),
                "unitPrice": product["price"],
            }
            for product in chosen
        ]
        if self.shop.by_graphql and self.tape.choose("the customer uses GraphQL", 2):
            self.shop.run_in("graphql", lambda: self._order_by_graphql(name, lines))
            return
        self.send("create_order", {"orderId": order_id, "userId": name, "items": lines}, headers)
        if self.tape.choose("the customer cancels", 3) == 2:
            self.wait()
            self.send("cancel_order", {"orderId": order_id, "reason": f"{name} has moved"}, headers)

    def _order_by_graphql(self, name: str, lines: list[dict[str, Any]]) -> None:
        """Place an order under one key, repeat it, and let everybody see the orders."""
        key = {"Idempotency-Key": str(self.world.new_id())}
        as_customer = {**key, "Authorization": f"Bearer {emulator_token(f'{name}@example.com', name)}"}
        placed = {
            answer["data"]["createOrder"]["order"]["id"]
            for _ in range(2)
            if "errors"
            not in (answer := ask(self.world, _CREATE, {"input": {"userId": name, "items": lines}}, as_customer))
        }
        if len(placed) > 1:
            self.broken.append(f"one key has made the orders {placed}")
        self.shop.faults.marks["graphql"] += 1
        self.look_at_orders()

    def look_at_orders(self) -> None:
        """Ask, without sign-in, for everything that orders have; nothing personal may be in the
        answer."""
        self.shop.faults.functions["graphql"] += 1
        token = dict(list(self.tokens.items())[:MAX_STREAMS])
        headers = {"Consistency": encode_token(token)} if token else {}
        known = all(version <= self.consistent.get(stream, 0) for stream, version in token.items())
        self._note_consistency(token, known, self._see(_LOOK, {}, headers))
        for order_id in sorted(map(str, self.orders()))[:1]:
            self._see(_LOOK_AT_ONE, {"id": order_id}, headers)

    def _note_consistency(self, token: Mapping[str, int], known: bool, answer: Mapping[str, Any]) -> None:
        """A token once met is met for ever, unless an operator switches to a generation that has
        not been sent everything yet. `known`: it had been met before the request."""
        said = answer.get("extensions", {}).get("consistency", {}).get("consistent")
        if known and said is False and not self.switched:
            self.broken.append(f"the token {encode_token(token)} was met, and later was not")
        if said and "errors" not in answer:
            self.shop.faults.marks["token met again"] += known
            for stream, version in token.items():
                self.consistent[stream] = max(version, self.consistent.get(stream, 0))

    def _see(self, query: str, variables: Mapping[str, str], headers: Mapping[str, str]) -> Any:
        answer = ask(self.world, query, variables, headers)
        shown = json.dumps(answer)
        if PERSONAL.search(shown):
            self.broken.append(f"a reader without sign-in sees {shown}")
        if codes := {one["extensions"]["code"] for one in answer.get("errors", ())} - _EXPECTED:
            self.broken.append(f"a reader without sign-in is answered {codes}: {shown[:300]}")
        return answer

    # Operators

    def operate(self, times: int) -> None:
        """Do what an operator may do at any moment."""
        for _ in range(times):
            self.wait()
            read_model = READ_MODELS[self.tape.choose("the operator's read model", len(READ_MODELS))]
            match self.tape.choose("the operator's deed", 8):
                case 0:
                    pass
                case 1:
                    self._retry_letters()
                case 2:
                    self._discard_letter()
                case 3:
                    self._retry_sagas()
                case 4:
                    self._generation(read_model, "REBUILD", switchWhenEqual=True)
                case 5:
                    self._switch(read_model)
                case 6:
                    for saga in self.shop.databases.sagas.newest(1):
                        self._restart(saga)
                case _:
                    self._generation(read_model, "DROP")

    def erase(self, times: int) -> None:
        """Erase customers, some of them twice; some order again meanwhile."""
        for _ in range(times):
            self.wait()
            name = self.customers[self.tape.choose("the erased customer", len(self.customers))]
            answer = self.send("erase_person", {"userId": name, "reason": "as asked"})
            self.shop.faults.marks["person erased"] += answer.status == 200 and answer.fields["erased"]
            if self.tape.choose("the erased customer orders again", 3) == 2:
                self.start(name, partial(self.order, name))

    def heal(self) -> None:
        """Do what the operators' handbook says about everything that does not come to rest by
        itself."""
        for stuck in self._stuck_sagas():  # before a letter that is published again turns it back
            self._restart(stuck)
        self._retry_letters()
        self._retry_sagas()
        for read_model in sorted(self.discarded):
            self._rebuild(read_model)
            self.discarded.discard(read_model)

    def rebuild_everything(self) -> None:
        """Replace all read models, as scripts/restore does at the end."""
        for read_model in READ_MODELS:
            self._rebuild(read_model)

    def switch_under_load(self) -> None:
        """Rebuild a read model, then go back and forth between its generations at moments when
        documents are being written."""
        self.shop.slow = 0.5
        read_model = READ_MODELS[self.tape.choose("the switched read model", len(READ_MODELS))]
        self._generation(read_model, "REBUILD", switchWhenEqual=True)
        self._until(lambda: self.shop.generations(read_model).state != "BUILDING")
        for number in range(2):
            name = f"admin {number}"
            self.start(name, lambda: self.keep_the_catalogue(1 + self.tape.choose("deeds under load", 3)))
            for _ in range(500):
                if self.shop.models.busy:
                    break
                self.world.sleep(0.5)
            self._switch(read_model)

    def _rebuild(self, read_model: str) -> None:
        self._generation(read_model, "DROP")
        self._until(lambda: self.shop.generations(read_model).other is None)
        self._generation(read_model, "REBUILD", switchWhenEqual=True)
        self._until(lambda: self.shop.generations(read_model).state != "BUILDING")
        self._generation(read_model, "DROP")

    def _until(self, condition: Callable[[], bool]) -> None:
        for _ in range(240):
            if condition():
                return
            self.world.sleep(60)

    def _generation(self, read_model: str, action: str, **more: Any) -> None:
        self._once_as_admin("rebuild_projection", {"name": f"project_{read_model}", "action": action, **more})

    def _switch(self, read_model: str) -> None:
        if other := self.shop.generations(read_model).other:
            self.switched.add(read_model)
            self._generation(read_model, "SWITCH", to=other)

    def _retry_letters(self) -> None:
        if self.shop.databases.letters.pending():
            self._once_as_admin("retry_dead_letters", {})
            self.shop.faults.marks["dead letter retried"] += 1

    def _discard_letter(self) -> None:
        for letter in self.shop.databases.letters.latest(1, 0, "PENDING"):
            answer = self._once_as_admin("discard_dead_letter", {"id": str(letter.id), "reason": "tidying up"})
            if answer.status != 409 and letter.source.startswith("project-"):
                self.discarded.add(letter.source.partition(".")[0].removeprefix("project-"))

    def _retry_sagas(self) -> None:
        for stuck in self._stuck_sagas():
            self._once_as_admin("retry_saga", {"id": str(stuck.saga.progress.saga_id)})
            self.shop.faults.marks["stuck saga retried"] += 1
        for order_id in sorted(self.orders()):
            if self.shop.databases.sagas.listed(order_id) is None:
                self._once_as_admin("retry_saga", {"id": str(order_id)})
                self.shop.faults.marks["missing saga made"] += 1

    def _stuck_sagas(self) -> list[ListedSaga]:
        return self.shop.databases.sagas.newest(100, 0, Sagas(SagaStatus.STUCK))

    def _restart(self, saga: ListedSaga) -> None:
        """Ask for a restart from any step; most are refused, and none may do a thing twice. An
        instance of the old release does not know the step that the new one has added."""
        progress = saga.saga.progress
        step = to_snake(progress.steps[self.tape.choose("the step to restart from", len(progress.steps))])
        unknown = () if step in map(to_snake, ORDER_FULFILMENT.step_names) else (422,)
        answer = self._once_as_admin("restart_saga", {"id": str(progress.saga_id), "fromStep": step}, *unknown)
        self.shop.faults.marks["restart of a saga"] += answer.status in (200, 409)
        self.shop.faults.marks["stuck saga restarted"] += answer.status == 200

    def orders(self) -> set[Any]:
        return {ORDER.id_of(stream) for stream in self.shop.databases.events.streams if stream.startswith("order-")}

    def _once_as_admin(self, function: str, body: Mapping[str, Any], *refusals: int) -> Answer:
        headers = {**ADMIN, "Idempotency-Key": str(self.world.new_id())}
        return self._once(function, body, headers, str(self.world.new_id()), *refusals)

    # The reader

    def look(self) -> None:
        """Read what the clients know to be written, and the next page of the log."""
        process = this_task().process
        assert process.engines is not None
        before = dict(self.met)
        for kind, collection in _COLLECTIONS.items():
            versions = {stream: number for stream, number in self.tokens.items() if stream.startswith(kind)}
            if versions:
                asked = [stream.partition("-")[2] for stream in versions]
                found = cast(Documents, driven(process.engines.queries.get_many(collection, asked)))
                shown = {stream: found.get(stream.partition("-")[2], {}).get("version", 0) for stream in versions}
                self._compare(before, versions, shown, found.collection)
        place = self.place
        page = process.engines.event_store.read_all(place, 50)
        if page and place == self.place:
            self.read += [entry.event for entry in page]
            self.place = page[-1].checkpoint

    def look_for(self, words: Sequence[str], orders: Sequence[str]) -> None:
        """Read these orders as the present process does, and by GraphQL as an admin; none of the
        words may be there."""
        process = this_task().process
        assert process.engines is not None
        shown = repr(process.engines.event_store.read(orders))
        if process.name == "graphql":
            as_admin = {"Authorization": f"Bearer {emulator_token('ann@example.com', role='admin')}"}
            shown += json.dumps(ask(self.world, _LOOK_AT_ALL, {}, as_admin))
        if named := [word for word in words if word in shown]:
            self.broken.append(f"{process.name} can still read {named}, which an erasure has taken")

    def _compare(
        self,
        before: Mapping[str, tuple[int, str]],
        versions: Mapping[str, int],
        shown: Mapping[str, int],
        collection: str,
    ) -> None:
        """What a read model has once shown, it shows for ever; after an operator's switch, each of
        its generations."""
        switched = collection.rpartition("/")[2] in self.switched
        for stream, version in versions.items():
            known, shown_by = before.get(stream, (0, collection))
            if shown[stream] < known and stream in self.met and (shown_by == collection or not switched):
                self.broken.append(f"{stream} was shown at version {known}, later at {shown[stream]}")
            if shown[stream] >= version >= self.met.get(stream, (0, ""))[0]:
                self.met[stream] = version, collection

    def forget(self) -> None:
        """Forget what a restore has undone."""
        self.tokens.clear()
        self.met.clear()
        self.consistent.clear()
        self.requests.accepted.clear()
        self.requests.prices.clear()

    def _id(self) -> str:
        return str(self.world.new_id())
