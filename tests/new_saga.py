"""A saga that has just begun, as the tests of stores save it."""

from datetime import UTC, datetime
from uuid import UUID

from uuid_utils.compat import uuid7

from shared.sagas.definition import Progress
from shared.sagas.status import SagaStatus
from shared.sagas.store import StoredSaga

NOW = datetime.now(UTC)


def new_saga(deadline: datetime | None = NOW, saga_id: UUID | None = None) -> StoredSaga:
    progress = Progress(saga_id or uuid7(), SagaStatus.STARTED, 1, 2, deadline, 7, "すみません 🙏")
    return StoredSaga("OrderSaga", progress, 0, "correlation")
