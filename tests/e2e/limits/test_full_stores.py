"""A Redis of 8 MB that others fill: budgets and limits go on, and what was spent is not forgotten."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import redis

from tests.e2e.limits.books import DOLLAR, Account, Books
from tests.e2e.limits.crowd import shoot, tally
from tests.e2e.limits.fleet import SHORT, Caller, Plans
from tests.harness.configuration import PRICE, TOKEN, target
from tests.harness.gateway import Gateway
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

# Under allkeys-* a server takes whatever it likes where others fill it; that is warned of.
POLICIES = ("noeviction", "volatile-lru", "volatile-lfu", "volatile-ttl", "volatile-random")
CACHE_POLICIES = POLICIES  # where it is the gateway's own cache that fills it
ANSWERS = 36  # of 384 KiB each
MONTH = 30 * 86400


class CachingPlans(Plans):
    """Answers of the model `kept` are kept."""

    def configuration(self, *args, **settings):
        document = super().configuration(*args, **settings)
        cache = {"exact": {"max_entry": "4MiB"}}
        document["models"]["kept"] = target("up", "kept", price=PRICE, cache=cache)
        document["cache"] = {"shelf_size": 0}
        return document


PLANS = CachingPlans()
FLEET = {"count": 2, "timeout": "1s"}
REFUSED = "429 budget_exceeded"
LIMITED = "429 rate_limit_exceeded"

PAYING = {name: PLANS.caller(f"paying-{name}", budget={"usd": 0.2}) for name in POLICIES}
NARROW = {
    name: PLANS.caller(f"narrow-{name}", {"requests_per_minute": 1, "request_burst": 10})
    for name in POLICIES
}
FEW = {name: PLANS.caller(f"few-{name}", {"concurrent": 3}) for name in POLICIES}
GREEDY = PLANS.caller("greedy")
BESIDE = {name: PLANS.caller(f"beside-{name}", budget={"usd": 0.2}) for name in CACHE_POLICIES}


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer.start(args=("--maxmemory", "8mb")) as server:
        yield server


@pytest.fixture
def policy(request: pytest.FixtureRequest, server: RedisServer, books: Books) -> Iterator[str]:
    server.cli("CONFIG", "SET", "maxmemory-policy", request.param)
    yield request.param
    for name in books.redis.scan_iter("*", count=1000):
        if name.startswith("filler:") or ":answer:" in name:
            books.redis.delete(name)


@pytest.mark.parametrize("policy", POLICIES, indirect=True)
def test_what_others_write_stops_no_budget_and_no_limit(
    gateways: list[Gateway], books: Books, policy: str
) -> None:
    paying, narrow, few = PAYING[policy], NARROW[policy], FEW[policy]
    assert tally(shoot(gateways, paying.secret, SHORT, 6)) == {"200": 6}
    assert tally(shoot(gateways, narrow.secret, SHORT, 6)) == {"200": 6}
    for _ in range(2):
        fill(books)
        # What was counted before counts on, to the request and to the nano-dollar.
        shoot(gateways, paying.secret, SHORT, 8)
        shoot(gateways, narrow.secret, SHORT, 8)
    assert tally(shoot(gateways, paying.secret, SHORT, 5)) == {REFUSED: 5}
    assert tally(shoot(gateways, narrow.secret, SHORT, 5)) == {LIMITED: 5}
    account = Account(10 * 20 * TOKEN, 0)
    eventually(lambda: books.account(paying.tenant, f"key:{paying.id}"), account)
    slow = tally(shoot(gateways, few.secret, SHORT | {"model": "slow-sim"}, 9))
    assert slow == {"200": 3, LIMITED: 6}
    # The counters of usage are written on a full server too.
    eventually(lambda: cost_of(gateways[0], paying), 10 * 20 * TOKEN)
    assert all(ready(gateway) == "ok" for gateway in gateways)


@pytest.mark.parametrize("policy", CACHE_POLICIES, indirect=True)
def test_a_tenant_that_fills_the_cache_stops_no_other_tenants_budget(
    gateways: list[Gateway], upstream: Upstream, books: Books, policy: str
) -> None:
    beside = BESIDE[policy]
    assert tally(shoot(gateways, beside.secret, SHORT, 4)) == {"200": 4}
    upstream.on("kept", large_answers)
    lasting = {"x-headgate-cache-ttl": str(MONTH)}
    for number in range(ANSWERS):
        body = {"model": "kept", "prompt": f"{policy} {number}", "max_tokens": 10}
        assert gateways[number % 2].send(body, GREEDY.secret, lasting).status == 200
        if number % 6 == 0:
            assert gateways[0].send(SHORT, beside.secret).status == 200
    kept = list(books.redis.scan_iter("*:answer:*", count=1000))
    assert len(kept) < ANSWERS  # the cache keeps to its quota, and off a server that is full
    # 4 before and 6 meanwhile are all that the budget covers.
    assert tally(shoot(gateways, beside.secret, SHORT, 6)) == {REFUSED: 6}
    account = Account(10 * 20 * TOKEN, 0)
    eventually(lambda: books.account(beside.tenant, f"key:{beside.id}"), account)
    assert all(ready(gateway) == "ok" for gateway in gateways)


# Helpers of this file.


async def large_answers(request, wire):
    text = random.randbytes(384 << 10).hex()  # it is packed to half of that
    usage = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}
    body = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "kept"}
    await wire.answer(body | {"choices": [choice], "usage": usage})


def fill(books: Books) -> None:
    """Three times as much as fits, as a cache writes it: keys with a time to live."""
    pipeline = books.redis.pipeline(transaction=False)
    for number in range(2400):
        pipeline.set(f"filler:{number}", "x" * 10_000, ex=MONTH)
    pipeline.execute(raise_on_error=False)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        for number in range(1_000):  # now what cannot be evicted, until nothing more fits
            books.redis.set(f"filler:lasting:{number}", "x" * 10_000)


def cost_of(gateway: Gateway, caller: Caller) -> int:
    rows = gateway.get("/v1/usage", caller.secret).document["models"]
    return sum(round(float(row["cost_usd"]) * DOLLAR) for row in rows)


def ready(gateway: Gateway) -> str:
    return gateway.get("/health/ready", None).document["store"]
