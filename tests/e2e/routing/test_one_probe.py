"""A breaker that two replicas with two workers each share: one call finds out whether all may go on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from tests.harness.configuration import key, openai
from tests.harness.exchange import Request, Wire
from tests.harness.gateway import Gateway
from tests.harness.good_server import good_server
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

CALLERS = 40
OPENS_FOR = 5.0  # seconds, give or take what keeps replicas from asking in step


@pytest.fixture(scope="module")
def gateways(server: RedisServer, the_upstream: Upstream) -> Iterator[list[Gateway]]:
    settings: dict[str, Any] = {
        "server": {"workers": 2, "shutdown_grace": "2s"},
        "log": {"format": "json"},
        "store": {"url": server.url, "timeout": "500ms"},
        "providers": {"main": openai(the_upstream.base_url)},
        "models": {"native": {"targets": [{"provider": "main", "model": "fragile"}]}},
        "tenants": {"acme": {}},
        "keys": [key("all")],
    }
    with ExitStack() as stack:
        replica = lambda: stack.enter_context(Gateway(settings, [the_upstream.address]))  # noqa: E731
        yield [replica(), replica()]


async def down(request: Request, wire: Wire) -> None:
    await wire.answer({"error": {"message": "down"}}, 500)


def asked(gateways: list[Gateway], count: int) -> list[int]:
    """The statuses of so many requests at once, over all workers of all replicas."""
    with ThreadPoolExecutor(count) as pool:
        given = [gateways[number % 2] for number in range(count)]
        return [reply.status for reply in pool.map(lambda gateway: gateway.complete(), given)]


def test_one_probe_in_all_workers_of_all_replicas(
    gateways: list[Gateway], upstream: Upstream
) -> None:
    upstream.on("fragile", down)
    eventually(lambda: set(asked(gateways, 8)), {503}, within=10)  # all four know that it is open
    before = len(upstream.requests)
    assert set(asked(gateways, CALLERS)) == {503}
    assert len(upstream.requests) == before

    gate = upstream.gate()

    async def held(request: Request, wire: Wire) -> None:
        await gate.wait()
        await good_server(request, wire)

    upstream.on("fragile", held)
    with ThreadPoolExecutor(1) as pool:
        # Whoever comes first when its time is over is the probe, and waits for its answer.
        probe = pool.submit(_first_answer, gateways)
        eventually(lambda: len(upstream.requests), before + 1, within=OPENS_FOR + 5)
        assert asked(gateways, CALLERS) == [503] * CALLERS
        assert len(upstream.requests) == before + 1
        gate.open()
        assert probe.result() == 200
    eventually(lambda: asked(gateways, 8) == [200] * 8)


def _first_answer(gateways: list[Gateway]) -> int:
    """The status of the first request that is not refused at once."""
    while True:
        for gateway in gateways:
            status = gateway.complete().status
            if status != 503:
                return status
