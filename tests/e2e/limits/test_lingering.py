"""What a request held is given back when its caller has everything, not when its upstream hangs up."""

from __future__ import annotations

from typing import Any

from tests.e2e.limits.fleet import Plans
from tests.harness.gateway import Gateway
from tests.harness.upstream import Upstream

PLANS = Plans()
FLEET = {"count": 1, "timeout": "1s"}
ONE = PLANS.caller("one", {"concurrent": 1})
PAYING = PLANS.caller("paying", budget={"usd": 100})


def test_a_caller_of_one_request_at_a_time_is_never_refused(
    gateway: Gateway, the_upstream: Upstream
) -> None:
    gate = the_upstream.gate()

    async def lingering(request: Any, wire: Any) -> None:
        choice = {"text": "x", "index": 0, "logprobs": None, "finish_reason": "stop"}
        await wire.begin_stream()
        await wire.event({"id": "cmpl-1", "model": "m", "created": 1, "choices": [choice]})
        await wire.event(b"[DONE]")
        await gate.wait()
        await wire.end_stream()

    the_upstream.on("up", lingering)
    body = {"model": "up", "prompt": "x", "stream": True}
    statuses = [gateway.send(body, key=ONE.secret).status for _ in range(5)]
    gate.open()
    assert statuses == [200] * 5


def test_while_a_budget_pays_the_upstream_is_told_the_limit_that_was_held_for(
    gateway: Gateway, the_upstream: Upstream
) -> None:
    the_upstream.reset()
    assert gateway.send({"model": "up", "prompt": "x"}, key=PAYING.secret).status == 200
    assert the_upstream.request.document["max_tokens"] == 16


def test_without_a_budget_the_upstream_is_told_nothing(
    gateway: Gateway, the_upstream: Upstream
) -> None:
    the_upstream.reset()
    assert gateway.send({"model": "up", "prompt": "x"}, key=ONE.secret).status == 200
    assert "max_tokens" not in the_upstream.request.document
