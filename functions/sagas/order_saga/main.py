"""The coordinator of the order's saga: hears what happened to an order and sends the next command."""

from shared.domain.order import ORDER
from shared.messaging.envelope import SUBJECT, Message
from shared.runtime.engines import Engines
from shared.runtime.push_functions import subscriber


@subscriber
def order_saga(message: Message, engines: Engines) -> None:
    engines.order_saga.follow(ORDER.id_of(message.subject, SUBJECT))
