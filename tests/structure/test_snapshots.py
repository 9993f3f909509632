"""A state whose shape has changed has another snapshot_schema, so that no older snapshot is read
as one."""

from dataclasses import fields
from typing import Any

import pytest

from shared.domain.order import AGGREGATES

SHAPES = {
    ("category", 1): "category_id name description parent_id lifecycle",
    ("product", 1): "product_id name description category_id price on_hand reserved lifecycle",
    ("order", 2): "order_id user_id items total payment_method shipping_method status inventory payment shipping"
    " notification payment_id shipping_id closing cancelled_by_customer reason",
    ("order", 3): "order_id user_id items total payment_method shipping_method status inventory payment shipping"
    " notification payment_id shipping_id closing cancelled_by_customer reason erased",
}
"""The fields of each aggregate's state, by its name and snapshot_schema. Earlier ones may go."""


@pytest.mark.parametrize("aggregate", AGGREGATES.values(), ids=AGGREGATES.keys())
def test_a_new_shape_of_a_state_has_a_new_snapshot_schema(aggregate: Any) -> None:
    name, schema = aggregate.name, aggregate.snapshot_schema
    shape = " ".join(field.name for field in fields(aggregate.initial))
    known = SHAPES.get((name, schema))
    here = f"shared/domain/{name}.py: {name.upper()} has snapshot_schema={schema}"
    assert known in (None, shape), f"{here}, but its state has another shape now: set snapshot_schema={schema + 1}"
    assert known, f'{here}: add ("{name}", {schema}): "{shape}" to SHAPES in tests/structure/test_snapshots.py'
