"""The first version of the order's saga: tests of the machinery stay as they are when the saga gets
another version."""

from shared.sagas.order_fulfilment import ORDER_FULFILMENT

FIRST_VERSION = (ORDER_FULFILMENT, *ORDER_FULFILMENT.former)[-1]
