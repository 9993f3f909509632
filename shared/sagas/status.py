"""What a saga may be: its status, and groups of them."""

from enum import Enum
from typing import Literal


class SagaStatus(Enum):
    STARTED = "STARTED"
    COMPENSATING = "COMPENSATING"
    STUCK = "STUCK"  # a compensation, or a step after the point of no return, has had no answer in time
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


SagaGroup = Literal["ACTIVE", "COMPENSATED"]
"""ACTIVE: all that have not ended. COMPENSATED: those that FAILED with steps undone."""
