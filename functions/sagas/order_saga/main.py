"""Coordinate the saga of an order: read the order's new events and send the next command."""

from shared.domain.order import ORDER
from shared.messaging.envelope import SUBJECT, Message
from shared.runtime.engines import Engines
from shared.runtime.push_functions import message_subscriber


@message_subscriber
def order_saga(message: Message, engines: Engines) -> None:
    engines.order_saga.follow(ORDER.id_of(message.subject, SUBJECT))
