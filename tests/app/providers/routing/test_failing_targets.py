"""Targets that fail again and again, or are full: who is left alone, and who finds out that they are well."""

from __future__ import annotations

import asyncio
from collections import Counter
from time import time

import pytest

from app.core.errors import (
    UpstreamAuth,
    UpstreamOverloaded,
)
from app.core.limits import Bucket
from app.providers.routing.failover import Failover
from app.providers.routing.shared_health import SharedHealth
from cache.quotas.limiter import LimitPlan
from tests.app.providers.routing.asking import (
    COST,
    Asked,
    Server,
    asking,
    both,
    counts,
    in_rounds,
    status,
)
from tests.harness.routing import route_of

# The breaker


def test_after_five_failures_nobody_asks_and_a_single_target_is_no_exception() -> None:
    a = Server(status(503))

    async def body(failover: Failover, health: SharedHealth) -> list[Asked]:
        return [await asking(failover, route_of(a, "a/m")) for _ in range(25)]

    found = in_rounds(body)
    assert counts(a) == [5]
    last = found[-1].error
    assert isinstance(last, UpstreamOverloaded)
    assert (last.code, found[-1].trail) == ("upstream_overloaded", ["a/m=open"])
    assert 1 <= int(dict(last.headers)[b"retry-after"]) <= 6


def test_every_attempt_counts_not_only_the_first() -> None:
    a, b = Server(status(503)), Server(status(503))

    async def body(failover: Failover, health: SharedHealth) -> dict[str, str]:
        for _ in range(5):
            await asking(failover, *both(a, b))
        return health.unwell()

    assert in_rounds(body) == {"a/m": "open", "b/m": "open"}


def test_a_target_that_is_open_is_passed_over() -> None:
    a, b = Server(status(503)), Server("b")

    async def body(failover: Failover, health: SharedHealth) -> Asked:
        for _ in range(5):
            await asking(failover, *both(a, b))
        return await asking(failover, *both(a, b))

    asked = in_rounds(body)
    assert (counts(a), asked.trail, asked.reply.texts) == ([5], ["a/m=open", "b/m=200"], ["b"])


def test_refused_credentials_open_at_once() -> None:
    a, b = Server(UpstreamAuth("no")), Server()

    async def body(failover: Failover, health: SharedHealth) -> dict[str, str]:
        await asking(failover, *both(a, b))
        await asking(failover, *both(a, b))
        return health.unwell()

    assert in_rounds(body) == {"a/m": "open"}
    assert counts(a, b) == [1, 2]


def test_of_many_at_once_one_is_the_probe_and_its_answer_closes() -> None:
    a = Server(*[status(503)] * 5, "well")

    async def body(failover: Failover, health: SharedHealth) -> tuple[list[Asked], dict[str, str]]:
        route = route_of(a, "a/m")
        for _ in range(5):
            await asking(failover, route)
        one = health.of("a/m")
        one.state = one.state._replace(open_until=int(time() * 1000) - 1)
        a._after = 0.05
        found = await asyncio.gather(*(asking(failover, route) for _ in range(50)))
        return list(found), health.unwell()

    found, unwell = in_rounds(body)
    assert (counts(a), unwell) == ([6], {})
    assert Counter(asked.error is None for asked in found) == {True: 1, False: 49}


def test_a_probe_whose_caller_leaves_is_given_to_the_next() -> None:
    a = Server(*[status(503)] * 5, "well")

    async def body(failover: Failover, health: SharedHealth) -> Asked:
        route = route_of(a, "a/m")
        for _ in range(5):
            await asking(failover, route)
        one = health.of("a/m")
        one.state = one.state._replace(open_until=int(time() * 1000) - 1)
        a._after = 5
        going = asyncio.create_task(asking(failover, route))
        await asyncio.sleep(0.02)
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)
        a._after = 0
        return await asking(failover, route)

    assert in_rounds(body).reply.texts == ["well"]


# Capacity

CAPACITY = LimitPlan.of("~headgate", [Bucket("target:a/m", "requests", 60, 2)], [])


def test_a_full_target_is_passed_over() -> None:
    a, b = Server("a"), Server("b")

    async def body(failover: Failover, health: SharedHealth) -> list[str]:
        routes = route_of(a, "a/m", capacity=CAPACITY), route_of(b, "b/m")
        return [(await asking(failover, *routes)).reply.texts[0] for _ in range(4)]

    assert in_rounds(body) == ["a", "a", "b", "b"]


def test_where_all_are_full_it_is_503_with_the_soonest_time() -> None:
    a = Server()

    async def body(failover: Failover, health: SharedHealth) -> Asked:
        route = route_of(a, "a/m", capacity=CAPACITY)
        return [await asking(failover, route) for _ in range(3)][-1]

    asked = in_rounds(body)
    assert (asked.error.status, asked.error.code) == (503, "upstream_overloaded")
    assert dict(asked.error.headers)[b"retry-after"] == b"1"
    assert asked.trail == ["a/m=capacity"]


# A provider that dies under load


@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_that_dies_under_200_requests_is_nobodys_problem(stream: bool) -> None:
    a, b = Server(status(500), after=0.01), Server("b", after=0.01)

    async def body(failover: Failover, health: SharedHealth) -> list[Asked]:
        routes = both(a, b)
        return list(
            await asyncio.gather(*(asking(failover, *routes, stream=stream) for _ in range(200)))
        )

    found = in_rounds(body)
    assert all(asked.error is None and asked.reply.texts == ["b"] for asked in found)
    assert [asked.call.outcome.cost for asked in found] == [COST] * 200
    assert counts(a)[0] <= 200 + 0.2 * 200 + 3
    assert counts(b) == [200]
