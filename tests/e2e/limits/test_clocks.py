"""Replicas whose clocks are wrong: budgets, keys, heartbeats and usage go by the store's."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.e2e.limits.books import Books
from tests.e2e.limits.crowd import shoot, tally
from tests.e2e.limits.fleet import SHORT, Caller, Plans, fleet
from tests.harness.faketime_install import environment
from tests.harness.gateway import Gateway
from tests.harness.redis_server import RedisServer
from tests.harness.waiting import eventually

PLANS = Plans()

REFUSED = "429 budget_exceeded"
LIMITED = "429 rate_limit_exceeded"
HOUR = 3600


def at(seconds: float) -> str:
    """A moment from now, as a configuration has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


WINDOWS = {
    per: PLANS.caller(f"per-{per}", budget={"usd": 0.1, "per": per})
    for per in ("hour", "day", "week", "month")
}
OUTAGE = PLANS.caller("outage", {"requests_per_minute": 1, "request_burst": 100})
NOT_YET = PLANS.caller("not-yet", expires=at(12 * HOUR))
EXPIRED = PLANS.caller("expired-now", expires=at(-12 * HOUR))
COUNTED = PLANS.caller("clock-counted")


@pytest.fixture(scope="module")
def gateways(server: RedisServer) -> Iterator[list[Gateway]]:
    """One whose clock is right, one 40 days ahead, one 25 hours and one ten seconds behind."""
    clocks = [{}, environment("+40d"), environment("-25h"), environment("-10s")]
    with fleet(PLANS, server.port, 4, environments=clocks, timeout="1s") as gateways:
        with Books(server.port) as books:
            eventually(lambda: books.replicas, 4)  # each knows the store's time now
        yield gateways


@pytest.mark.parametrize("per", WINDOWS)
def test_replicas_with_wrong_clocks_share_one_budget(gateways: list[Gateway], per: str) -> None:
    caller = WINDOWS[per]
    assert tally(shoot(gateways, caller.secret, SHORT, 40)) == {"200": 5, REFUSED: 35}
    stands: list[dict[str, str]] = []

    def agreed() -> bool:  # what an answer held is given back just after it
        stands[:] = [budget_of(gateway, caller) for gateway in gateways]
        return all(stand == stands[0] for stand in stands)

    eventually(agreed, True)
    assert stands[0]["spent_usd"] == "0.1"
    # Where the hour ends just now, both of its ends are good.
    ends = time.mktime(time.strptime(stands[0]["resets_at"][:19], "%Y-%m-%dT%H:%M:%S"))
    assert -60 < ends - time.timezone - time.time() <= 32 * 24 * HOUR


def test_keys_expire_by_the_stores_clock(gateways: list[Gateway]) -> None:
    for gateway in gateways:
        assert gateway.send(SHORT, NOT_YET.secret).status == 200
        assert gateway.send(SHORT, EXPIRED.secret).error["code"] == "expired_api_key"


def test_usage_is_counted_in_the_stores_hours(gateways: list[Gateway]) -> None:
    for gateway in gateways:
        assert gateway.send(SHORT, COUNTED.secret).status == 200

    def seen(gateway: Gateway) -> int:
        rows = gateway.get("/v1/usage?since=1h", COUNTED.secret).document["models"]
        return sum(row["requests"] for row in rows)

    for gateway in gateways:
        eventually(lambda gateway=gateway: seen(gateway), 4)


def test_in_an_outage_each_gives_its_share_whatever_its_clock_says(
    gateways: list[Gateway], server: RedisServer
) -> None:
    # The earlier release admitted 158 of 100 with one replica ten seconds ahead.
    beat_twice(gateways, server)
    server.kill()
    answers = shoot(gateways, OUTAGE.secret, SHORT, 240)
    assert tally(answers) == {"200": 100, LIMITED: 140}


# Helpers of this file.


def beat_twice(gateways: list[Gateway], server: RedisServer) -> None:
    """Wait until each has counted the others after all had said that they live."""
    with Books(server.port) as books:
        for _ in range(2):
            said = books.beats()
            eventually(
                lambda said=said: sum(said.get(n) != t for n, t in books.beats().items()),
                len(gateways),
            )


def budget_of(gateway: Gateway, caller: Caller) -> dict[str, str]:
    [budget] = gateway.get("/v1/usage", caller.secret).document["budgets"]
    return budget
