"""The memory of the process that answers."""

import asyncio
import gc
import sys
from collections.abc import Sequence
from functools import partial
from types import FunctionType, ModuleType
from typing import Any

from shared.api.context import Info, Resolvers
from shared.read_models.protocol import Fields
from shared.runtime.engines import Engines

_CACHE_SECONDS = 1.0
_MEGABYTE = 1_000_000


async def memory_info(_: Any, info: Info) -> Fields:
    engines = info.context.engines
    return await engines.cache.get("the memory", _CACHE_SECONDS, partial(asyncio.to_thread, _measured, engines))


def _measured(engines: Engines) -> Fields:
    """Walk the page tables and all objects of the stores."""
    import psutil  # here, because it reads /proc when it is imported

    process = psutil.Process()
    memory = process.memory_full_info()
    return {
        "total_mb": memory.rss / _MEGABYTE,
        "process_mb": memory.uss / _MEGABYTE,
        "binary_mb": max(0, memory.rss - memory.uss) / _MEGABYTE,
        "ets_mb": size_of(engines.in_memory) / _MEGABYTE,
        "process_count": process.num_threads(),
        "port_count": process.num_fds(),
    }


def size_of(roots: Sequence[object]) -> int:
    """Return the bytes of every object that the roots refer to, directly or not, without code."""
    seen: set[int] = set()
    pending: list[Any] = list(roots)
    size = 0
    while pending:
        item = pending.pop()
        if id(item) not in seen and not isinstance(item, type | FunctionType | ModuleType):
            seen.add(id(item))
            size += sys.getsizeof(item)
            pending += gc.get_referents(item)
    return size


RESOLVERS: Resolvers = {"Query": {"memoryInfo": memory_info}}
