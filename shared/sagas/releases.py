"""Find the version of the definition that a saga under way goes on with.

Progress counts steps by index, so it is stored with the version and the names of the steps that it
counts. A release that does not have this version, for example the previous release while a new one
is rolled out, carries the saga over to its own.
"""

from dataclasses import replace

from shared.sagas.definition import END, Progress, Saga
from shared.sagas.status import SagaStatus


def in_version(saga: Saga, progress: Progress) -> tuple[Saga, Progress]:
    """Return the definition that the saga began with and its progress; when that is not kept here,
    this release's definition and the progress carried over to it."""
    for one in (saga, *saga.former):
        if progress.version == one.version and progress.steps in ((), one.step_names):
            return one, progress if progress.steps else replace(progress, steps=one.step_names)
    return saga, replace(carried_over(saga, progress), version=saga.version)


def carried_over(saga: Saga, progress: Progress) -> Progress:
    """Return the progress by the steps of this release.

    Steps that were added before the present one are left out. When the present step was removed,
    the next deadline goes on with the step after it, or with the compensation of the step before.
    Progress from before steps had names counts the steps of this release.
    """
    names, before = saga.step_names, progress.steps
    if progress.ended or before in ((), names):
        return replace(progress, steps=before or names)
    step = _step_in(saga, progress)
    return replace(
        progress,
        steps=names,
        step=step,
        attempts=progress.attempts if _name(before, progress.step) == _name(names, step) else 0,
        undone=frozenset(_same(before, names, one) for one in progress.undone if _name(before, one) in (*names, "")),
        given_up=tuple(
            replace(one, step=names.index(before[one.step])) for one in progress.given_up if before[one.step] in names
        ),
    )


def _step_in(saga: Saga, progress: Progress) -> int:
    """Return the index of the step in flight or, if it was removed, of its neighbour."""
    names, before = saga.step_names, progress.steps
    kept = [index for index, name in enumerate(before) if name in names]
    beyond = names[saga.last_return] in before and progress.step > before.index(names[saga.last_return])
    if progress.status is SagaStatus.STARTED or beyond:
        following = [index for index in kept if index >= progress.step]
        return names.index(before[following[0]]) if following else len(names) - 1
    earlier = [index for index in kept if index <= progress.step]
    return names.index(before[earlier[-1]]) if earlier else END


def _same(before: tuple[str, ...], names: tuple[str, ...], index: int) -> int:
    return END if index == END else names.index(before[index])


def _name(names: tuple[str, ...], index: int) -> str:
    """Return the step's name, "" for END."""
    return "" if index == END else names[index]
