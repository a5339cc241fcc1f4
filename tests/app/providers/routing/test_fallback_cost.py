"""What a fallback costs besides the calls themselves."""

from __future__ import annotations

from statistics import median
from time import perf_counter

import pytest

from app.providers.routing.routes import Route
from tests.app.providers.routing.asking import Server, status
from tests.harness.chain import RecordingWriter, call_of, in_loop
from tests.harness.routing import failover_of, route_of

pytestmark = pytest.mark.alone

CALLS = 400
ADDED = 0.0003  # seconds


def test_a_fallback_adds_less_than_three_tenths_of_a_millisecond() -> None:
    well = route_of(Server(), "b/m", breaker=False)
    down = route_of(Server(status(503)), "a/m", breaker=False)

    async def body() -> tuple[float, float]:
        failover = failover_of()
        took: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(CALLS):
            for targets in ((well,), (down, well)):
                took[len(targets)].append(await timed(failover, targets))
        return median(took[1]), median(took[2])

    async def timed(failover: object, targets: tuple[Route, ...]) -> float:
        call, reply = call_of(), RecordingWriter()
        call.targets = targets
        began = perf_counter()
        await failover(call, reply)  # type: ignore[operator]
        spent = perf_counter() - began
        assert reply.texts == ["yes"]
        assert call.outcome.attempts == len(targets)
        return spent

    alone, fallen = in_loop(body, 30)
    print(
        f"\na fallback: {(fallen - alone) * 1e6:.0f} us added at the median to {alone * 1e6:.0f} us"
    )
    assert fallen - alone < ADDED
