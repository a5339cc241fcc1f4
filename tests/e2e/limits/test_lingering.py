"""What a request held is given back when its caller has everything, not when its upstream hangs up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.limits.fleet import Plans, fleet
from tests.harness.gateway import Gateway
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream

PLANS = Plans()
ONE = PLANS.caller("one", {"concurrent": 1})
PAYING = PLANS.caller("paying", budget={"usd": 100})


@pytest.fixture(scope="module")
def gateway(redis_server: RedisServer, limits_upstream: Upstream) -> Iterator[Gateway]:
    with fleet(PLANS, redis_server.port, 1, limits_upstream, timeout="1s") as [gateway]:
        yield gateway


def test_a_caller_of_one_request_at_a_time_is_never_refused(
    gateway: Gateway, limits_upstream: Upstream
) -> None:
    gate = limits_upstream.gate()

    async def lingering(request: Any, wire: Any) -> None:
        choice = {"text": "x", "index": 0, "logprobs": None, "finish_reason": "stop"}
        await wire.begin_stream()
        await wire.event({"id": "cmpl-1", "model": "m", "created": 1, "choices": [choice]})
        await wire.event(b"[DONE]")
        await gate.wait()
        await wire.end_stream()

    limits_upstream.on("up", lingering)
    body = {"model": "up", "prompt": "x", "stream": True}
    statuses = [gateway.send(body, key=ONE.secret).status for _ in range(5)]
    gate.open()
    assert statuses == [200] * 5


def test_while_a_budget_pays_the_upstream_is_told_the_limit_that_was_held_for(
    gateway: Gateway, limits_upstream: Upstream
) -> None:
    limits_upstream.reset()
    assert gateway.send({"model": "up", "prompt": "x"}, key=PAYING.secret).status == 200
    assert limits_upstream.request.document["max_tokens"] == 16


def test_without_a_budget_the_upstream_is_told_nothing(
    gateway: Gateway, limits_upstream: Upstream
) -> None:
    limits_upstream.reset()
    assert gateway.send({"model": "up", "prompt": "x"}, key=ONE.secret).status == 200
    assert "max_tokens" not in limits_upstream.request.document
