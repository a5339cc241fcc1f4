"""How late the loop is, and what the log says of it and of the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.concurrency.breaker import Breaker
from app.concurrency.loop_lag import (
    QUIET_SECONDS,
    REMEMBERED_SECONDS,
    TURN_SECONDS,
    WARN_SECONDS,
    LoopLag,
)
from app.observability.outage_log import OutageLog
from tests.cache.stores import until

Lines = list[Any]


@pytest.fixture
def lines() -> Iterator[Lines]:
    with capture_logs() as captured:
        yield captured


def test_a_stall_is_measured() -> None:
    async def body() -> LoopLag:
        lag = LoopLag()
        measuring = asyncio.create_task(lag.keep_measuring())
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(time.sleep, 0.5)
        await until(lambda: lag.worst > 0.1)
        measuring.cancel()
        return lag

    lag = asyncio.run(body())
    assert 0.5 - TURN_SECONDS - 0.01 < lag.worst < 2
    assert lag.now == lag.worst


def test_the_worst_is_remembered_for_ten_seconds_and_no_longer(lines: Lines) -> None:
    lag, now = LoopLag(), time.monotonic()
    lag.found(3.0, now - REMEMBERED_SECONDS - 1)
    lag.found(0.2, now - 5)
    lag.found(0.01, now)
    assert (lag.worst, lag.now) == (0.2, 0.01)


def test_what_is_remembered_is_bounded(lines: Lines) -> None:
    lag = LoopLag()
    for turn in range(1000):
        lag.found(0.0, turn * TURN_SECONDS)
    assert len(lag._found) <= REMEMBERED_SECONDS / TURN_SECONDS + 2


def test_a_late_loop_is_said_once_in_a_while(lines: Lines) -> None:
    lag = LoopLag()
    lag.found(WARN_SECONDS / 2, 0.0)
    lag.found(WARN_SECONDS * 2, 1.0)
    lag.found(WARN_SECONDS * 3, QUIET_SECONDS)
    lag.found(WARN_SECONDS * 4, QUIET_SECONDS + 1.0)
    assert lines == [
        {"event": "loop_late", "log_level": "warning", "loop_lag_ms": int(WARN_SECONDS * factor)}
        for factor in (2000, 4000)
    ]


# The log of outages.


def test_an_outage_is_told_with_its_reason_and_the_loops_own_lag(lines: Lines) -> None:
    breaker, lag = Breaker(), LoopLag()
    log = OutageLog(breaker, lag)
    log.look()
    lag.found(0.1234, time.monotonic())
    breaker.failed("refused", at_once=True, detail="h:1: connection refused")
    log.look()
    log.look()
    breaker.close()
    log.look()
    log.look()
    assert lines == [
        {
            "event": "store_out",
            "log_level": "warning",
            "reason": "refused",
            "detail": "h:1: connection refused",
            "loop_lag_ms": 123,
        },
        {"event": "store_back", "log_level": "warning"},
    ]


def test_a_new_reason_in_an_outage_is_told_once(lines: Lines) -> None:
    # Somebody changes the password: connections end, and then nobody is let in.
    breaker = Breaker()
    log = OutageLog(breaker, LoopLag())
    breaker.failed("unreachable", at_once=True, detail="h:1: the connection was closed")
    log.look()
    for _ in range(3):
        breaker.failed("auth", at_once=True, detail="h:1: wrong")
        log.look()
        breaker.failed("unreachable", at_once=True, detail="h:1: again")
        log.look()
    assert [(line["event"], line["reason"]) for line in lines] == [
        ("store_out", "unreachable"),
        ("store_still_out", "auth"),
    ]


def test_an_outage_between_two_looks_is_told_too(lines: Lines) -> None:
    breaker = Breaker()
    log = OutageLog(breaker, LoopLag())
    breaker.failed("unreachable", at_once=True, detail="h:1: the connection was closed")
    breaker.close()
    log.look()
    assert [line["event"] for line in lines] == ["store_out", "store_back"]
    assert lines[0]["detail"] == "h:1: the connection was closed"
