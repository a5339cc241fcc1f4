"""Breakers over a store: what one worker sees, all know within a second; one probe among all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import time

import pytest

from app.providers.routing.breaker import Phase
from app.providers.routing.retry import Failure, Kind
from app.providers.routing.shared_health import SharedHealth
from cache.store.base import Store
from cache.store.opening import open_store
from tests.cache.stores import server_of
from tests.harness.routing import Counted

DOWN = Failure(Kind.TRANSIENT, 500)
WORKERS = 4  # two replicas with two workers each

pytestmark = pytest.mark.server


def over_redis(body: Callable[[list[SharedHealth], Counted], Awaitable[None]]) -> None:
    """``body`` with the health that four workers know, each over a connection of its own."""

    async def run(url: str) -> None:
        counted = Counted()
        stores: list[Store] = [open_store(url, 2.0) for _ in range(WORKERS)]
        for store in stores:
            store.start()
        try:
            async with asyncio.timeout(30):
                await body([SharedHealth(store, time, counted) for store in stores], counted)
        finally:
            for store in stores:
                await store.aclose()

    server = server_of("7")
    try:
        asyncio.run(run(server.url))
    finally:
        server.stop()


async def all_step(workers: list[SharedHealth]) -> None:
    for worker in workers:
        await worker.step()


def test_five_failures_seen_by_different_workers_open_it_for_all_and_are_told_once() -> None:
    async def body(workers: list[SharedHealth], counted: Counted) -> None:
        for number in range(5):
            worker = workers[number % WORKERS]
            worker.failed(worker.of("p/m"), DOWN)
            await worker.step()
        for worker in workers:
            worker.of("p/m")
        await all_step(workers)
        assert [worker.unwell() for worker in workers] == [{"p/m": "open"}] * WORKERS
        assert counted == [("headgate_target_openings_total", "p/m", 1)]

    over_redis(body)


def test_of_all_workers_one_gets_the_probe_and_its_answer_closes_it_for_all() -> None:
    async def body(workers: list[SharedHealth], counted: Counted) -> None:
        first = workers[0]
        first.failed(first.of("p/m"), Failure(Kind.CREDENTIALS, 401))
        for worker in workers:
            worker.of("p/m")
        await all_step(workers)
        # The minute passes: the store's copy says so, and each worker reads it.
        await first._store.command("HSET", "hg1:{~targets}:target:p/m", "open", "1000")
        for worker in workers:
            one = worker.of("p/m")
            one.state = one.state._replace(open_until=1000)
            assert worker.phase(one) is Phase.PROBE
        asked = [worker.claim(worker.of("p/m")) for worker in workers for _ in range(25)]
        leases = await asyncio.gather(*asked)
        given = [(number // 25, lease) for number, lease in enumerate(leases) if lease]
        assert len(given) == 1
        [(number, lease)] = given
        await all_step(workers)
        phases = [worker.phase(worker.of("p/m")) for worker in workers]
        assert phases == [Phase.PROBING] * WORKERS
        prober = workers[number]
        prober.succeeded(prober.of("p/m"), lease)
        await prober.step()
        await all_step(workers)
        assert [worker.unwell() for worker in workers] == [{}] * WORKERS
        ramps = [worker.ramp(worker.of("p/m")) for worker in workers]
        assert all(ramp < 1 for ramp in ramps)

    over_redis(body)


def test_successes_of_others_count_against_the_share_of_failures() -> None:
    async def body(workers: list[SharedHealth], counted: Counted) -> None:
        one, other = workers[:2]
        for number in range(40):
            if number % 4 == 3:
                one.failed(one.of("p/m"), DOWN)
            else:
                other.of("p/m").note_success()
            await all_step([other, one])
        assert one.unwell() == {}

    over_redis(body)


def test_without_the_store_a_worker_decides_alone() -> None:
    async def body(workers: list[SharedHealth], counted: Counted) -> None:
        worker = workers[0]
        worker._store.breaker.failed("refused", at_once=True)
        one = worker.of("p/m")
        for _ in range(5):
            worker.failed(one, DOWN)
        assert worker.phase(one) is Phase.OPEN
        one.state = one.state._replace(open_until=1000)
        leases = [await worker.claim(one) for _ in range(3)]
        assert [bool(lease) for lease in leases] == [True, False, False]
        worker.succeeded(one, leases[0])
        assert worker.phase(one) is Phase.CLOSED

    over_redis(body)
