"""A function that scales to zero starts with a request and ends when it is idle."""

import asyncio
from pathlib import Path
from threading import Barrier
from typing import Any

import httpx
import pytest

from scripts.local.bench_zero import in_a_row
from scripts.local.zero import ColdStart, Instances
from shared.config.manifest import manifest

BODY = {"categoryId": "0190b1b6-7c5e-7000-8000-000000000001", "name": "お茶"}


async def until_stopped(instances: Instances) -> None:
    async with asyncio.timeout(60):
        while instances.running:
            await asyncio.sleep(0.1)


def test_a_request_starts_the_function_and_idleness_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFILE", "memory")
    instances = Instances(tmp_path, idle_seconds=2)
    app: Any = instances.app(manifest().functions["create_category"])

    async def use() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop", timeout=120) as http:
            headers = {"X-Actor": "ann", "X-Role": "admin"}
            made, alive = await asyncio.gather(
                http.post("/", json=BODY, headers=headers), http.get("/health/live", headers=headers)
            )
            assert (made.status_code, alive.status_code) == (200, 200), made.text + alive.text
            assert made.json()["entity"]["name"] == BODY["name"]
            assert [start.function for start in instances.cold_starts] == ["create_category"]
            await until_stopped(instances)
            assert (await http.get("/health/live")).status_code == 200
            assert len(instances.cold_starts) == 2
            await app.close()

    try:
        asyncio.run(use())
    finally:
        instances.stop_all()
    assert instances.running == []


def test_a_function_that_cannot_start_is_answered_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFILE", "nonsense")
    instances = Instances(tmp_path, idle_seconds=60)
    app: Any = instances.app(manifest().functions["create_category"])

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop", timeout=120) as http:
            answer = await http.post("/", json=BODY)
            await app.close()
            return answer

    try:
        assert asyncio.run(ask()).status_code >= 500
    finally:
        instances.stop_all()


def test_all_functions_can_start_at_the_same_time(tmp_path: Path) -> None:
    instances, together = Instances(tmp_path, idle_seconds=60), Barrier(40)

    async def start() -> None:
        await asyncio.gather(*(instances.in_thread(together.wait, 60) for _ in range(40)))

    asyncio.run(start())
    assert not together.broken


def test_starts_that_overlap_count_once() -> None:
    together = [ColdStart("a", 0, 3), ColdStart("b", 1, 4)]
    assert in_a_row(together) == 1
    assert in_a_row([*together, ColdStart("c", 4, 6), ColdStart("d", 5, 9), ColdStart("e", 6, 8)]) == 3
