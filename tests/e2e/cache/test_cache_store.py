"""The cache in a store of its own: two real servers, each killed in its turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cache.asking import ONLY_CACHED, ask, how, warm
from tests.e2e.cache.configuration import configuration
from tests.harness.command import command
from tests.harness.credentials import KEY, STRANGER
from tests.harness.gateway import Gateway, open_gateway
from tests.harness.good_server import text_of
from tests.harness.prompts import unseen
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually


@pytest.fixture(scope="module")
def main_server() -> Iterator[RedisServer]:
    with RedisServer.start() as server:
        yield server


@pytest.fixture(scope="module")
def cache_server() -> Iterator[RedisServer]:
    with RedisServer.start() as server:
        yield server


def settings(main: RedisServer, cache: RedisServer, upstream: Upstream) -> dict[str, Any]:
    made = configuration(main.url, upstream)
    made["cache_store"] = {"url": cache.url}
    made["budgets"] = {"small": {"usd": 0.5, "per": "month"}}
    made["limits"] = {"few": {"requests_per_minute": 20}}
    made["tenants"]["other"] = {"budget": "small"}
    return made


@pytest.fixture(scope="module")
def two(
    main_server: RedisServer, cache_server: RedisServer, the_upstream: Upstream
) -> Iterator[Gateway]:
    made = settings(main_server, cache_server, the_upstream)
    with open_gateway(made, the_upstream) as gateway:
        yield gateway


def ready(gateway: Gateway) -> tuple[int, Any, Any]:
    reply = gateway.get("/health/ready", None)
    return reply.status, reply.document["store"], reply.document["cache_store"]


def spent(gateway: Gateway) -> float:
    [budget] = gateway.get("/v1/usage", STRANGER).document["budgets"]
    return float(budget["spent_usd"])


@pytest.mark.parametrize("fields", [{}, {"temperature": 0}], ids=["alone", "shared"])
def test_answers_are_kept_in_the_caches_store_and_money_in_the_main_one(
    two: Gateway,
    main_server: RedisServer,
    cache_server: RedisServer,
    upstream: Upstream,
    prompt: str,
    fields: dict[str, Any],
) -> None:
    warm(two, prompt, STRANGER, **fields)
    assert how(ask(two, prompt, STRANGER, **fields)) == "hit"
    assert ":answer:" in cache_server.cli("KEYS", "*")
    eventually(lambda: ":account:" in main_server.cli("KEYS", "*"))
    assert not [k for k in main_server.cli("KEYS", "*").splitlines() if ":answer:" in k]
    assert not [k for k in cache_server.cli("KEYS", "*").splitlines() if ":account:" in k]
    assert ready(two) == (200, "ok", "ok")


@pytest.mark.parametrize("fields", [{}, {"temperature": 0}], ids=["alone", "shared"])
def test_without_the_caches_store_requests_go_on_and_budgets_hold(
    two: Gateway, cache_server: RedisServer, upstream: Upstream, fields: dict[str, Any]
) -> None:
    prompt, before = unseen(), spent(two)
    warm(two, prompt, STRANGER, **fields)
    cache_server.kill()
    try:
        eventually(lambda: ready(two)[2] != "ok")
        assert ready(two)[:2] == (200, "ok")
        costs = 0.0
        for _ in range(5):
            reply = ask(two, prompt, STRANGER, **fields)
            assert (how(reply), reply.texts) == ("bypass", [text_of(prompt)])
            costs += float(reply.headers["x-headgate-cost-usd"])
        assert costs > 0
        eventually(lambda: spent(two) >= before + costs)
        eventually(lambda: any("cache_store_out" in line for line in two.output))
        assert not any('"store_out"' in line for line in two.output)
    finally:
        cache_server.restart()
    eventually(lambda: ready(two) == (200, "ok", "ok"))
    eventually(lambda: how(ask(two, prompt, KEY, **fields)) == "hit")


def test_a_budget_is_exhausted_exactly_while_the_caches_store_is_out(
    two: Gateway, cache_server: RedisServer, upstream: Upstream
) -> None:
    cache_server.kill()
    try:
        statuses = [ask(two, unseen(), STRANGER, model="uncached").status for _ in range(80)]
        refused = statuses.index(429)
        assert set(statuses[:refused]) == {200}
        assert set(statuses[refused:]) == {429}
        assert 0.4 < spent(two) <= 0.5
    finally:
        cache_server.restart()
    eventually(lambda: ready(two) == (200, "ok", "ok"))


@pytest.mark.parametrize("fields", [{}, {"temperature": 0}], ids=["alone", "shared"])
def test_without_the_main_store_what_is_kept_is_given(
    two: Gateway, main_server: RedisServer, upstream: Upstream, fields: dict[str, Any]
) -> None:
    prompt, fresh = unseen(), unseen()
    warm(two, prompt, **fields)
    main_server.kill()
    try:
        eventually(lambda: ready(two)[:2] != (200, "ok"))
        assert ready(two)[2] == "ok"
        assert how(ask(two, prompt, **fields)) == "hit"
        warm(two, fresh, **fields)
        assert how(ask(two, fresh, **fields)) == "hit"
        # Money cannot be asked for, and is not needed for what is kept.
        refused = ask(two, unseen(), STRANGER, **fields)
        assert (refused.status, refused.error["code"]) == (503, "store_unavailable")
    finally:
        main_server.restart()
    eventually(lambda: ready(two) == (200, "ok", "ok"))


def test_limits_by_share_do_not_keep_the_cache_from_answering(
    main_server: RedisServer, cache_server: RedisServer, the_upstream: Upstream, prompt: str
) -> None:
    made = settings(main_server, cache_server, the_upstream)
    made["keys"][0]["limits"] = "few"
    with open_gateway(made, the_upstream) as gateway:
        warm(gateway, prompt)
        main_server.kill()
        try:
            eventually(lambda: ready(gateway)[0] == 503)
            assert how(ask(gateway, prompt)) == "hit"
        finally:
            main_server.restart()


def test_a_purge_reaches_the_caches_store(
    two: Gateway, main_server: RedisServer, upstream: Upstream, prompt: str
) -> None:
    warm(two, prompt)
    main_server.kill()
    try:
        done = command("cache", "purge", "--yes", "--config", str(two.file))
        assert (done.returncode, done.stdout) == (0, "purged everything\n"), done.stderr
        eventually(lambda: ask(two, prompt, headers=ONLY_CACHED).status == 504)
    finally:
        main_server.restart()
    eventually(lambda: ready(two) == (200, "ok", "ok"))


def test_two_workers_follow_each_other_over_the_caches_store(
    main_server: RedisServer,
    cache_server: RedisServer,
    the_upstream: Upstream,
    upstream: Upstream,
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from tests.harness.good_server import good_server

    gate = upstream.gate()

    async def script(request, wire):
        await gate.wait()
        await good_server(request, wire)

    upstream.on("up", script)
    made = settings(main_server, cache_server, the_upstream)
    prompt = unseen()
    with (
        open_gateway(made, the_upstream) as one,
        open_gateway(made, the_upstream) as other,
        ThreadPoolExecutor(2) as threads,
    ):
        first = threads.submit(ask, one, prompt, KEY, temperature=0)
        upstream.wait_for(1)
        second = threads.submit(ask, other, prompt, KEY, temperature=0)
        eventually(lambda: len(cache_server.cli("PUBSUB", "CHANNELS", "hg1:mail:*").split()) >= 2)
        gate.open()
        assert [how(first.result()), how(second.result())] in (
            ["miss", "coalesced"],
            ["miss", "hit"],
        )
    assert len(upstream.requests) == 1
    assert main_server.cli("PUBSUB", "CHANNELS", "hg1:mail:*") == ""
