"""Old stores, dead stores, crowds, and what stands in the store and in /metrics."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from tests.e2e.cache.asking import saying
from tests.e2e.semantic.asking import (
    PARAPHRASE,
    QUESTION,
    STRESSED,
    ask,
    embedded,
    embedding,
    keep,
    only,
    served,
    teach,
)
from tests.e2e.semantic.configuration import ANY_STORE, BOTH_TIERS, ODD, configuration
from tests.harness.exchange import Request, Wire
from tests.harness.gateway import Gateway, open_gateway
from tests.harness.good_server import text_of
from tests.harness.metrics import metric, parsed
from tests.harness.prompts import PRIVATE
from tests.harness.raw_connection import raw_request
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream
from tests.harness.waiting import PATIENCE, eventually

THIRD = f"HOW DO I FEED {PRIVATE.upper()}S IN WINTER"


# Which store there is.


def refused(gateway: Gateway) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gateway.output if "semantic_tier2_refused" in line]


@pytest.mark.parametrize("store_url", ["redis7"], indirect=True, scope="session")
def test_a_store_without_vectors_refuses_tier_2_once_and_has_tier_1(
    gateway: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    for alias in ("same", "local"):
        teach(gateway, space, model=alias)
        assert served(only(gateway, STRESSED, space, model=alias)) is None
        assert served(ask(gateway, PARAPHRASE, space, model=alias)) == "tier 1"
    eventually(lambda: refused(gateway) != [])
    [line] = refused(gateway)
    assert (line["level"], "Redis 8" in line["reason"]) == ("error", True)


@BOTH_TIERS
def test_a_store_with_vectors_has_nothing_to_say(gateway: Gateway) -> None:
    assert refused(gateway) == []


@pytest.mark.parametrize("store_url", ["redis8"], indirect=True, scope="session")
def test_vectors_expire_and_nothing_else_holds_a_prompt(
    gateway: Gateway, upstream: Upstream, redis8: RedisServer, space: dict[str, str]
) -> None:
    upstream.on("up", saying("an answer without it"))
    raw = redis.Redis(port=redis8.port, socket_timeout=PATIENCE)
    raw.flushdb()
    hour = space | {"x-headgate-cache-ttl": "3600"}
    teach(gateway, hour, model="same", paraphrase=STRESSED)
    ask(
        gateway,
        f"How do I brush 2 {PRIVATE}s?",
        hour | {"x-headgate-cache-ttl": "60"},
        model="same",
    )
    eventually(lambda: [raw.vset().vcard(key) for key in raw.keys("*:near:*")] == [2])
    [near] = raw.keys("*:near:*")
    seconds, _ = raw.time()
    assert 3500 < raw.ttl(near) <= 3600  # as long as its longest
    said = [
        raw.execute_command("VGETATTR", near, name)
        for name in raw.execute_command("VRANDMEMBER", near, 5)
    ]
    left = sorted(round(one["until"] / 1000 - seconds, -1) for one in said)
    assert left == [60, 3600]
    assert {one["text"] for one in said} == {QUESTION, f"How do I brush 2 {PRIVATE}s?"}
    word = PRIVATE.encode()
    for key in raw.keys("*"):
        assert word not in key
        # What counts has none, so that no eviction policy takes it; what is kept has.
        if any(kind in key for kind in (b":answer:", b":meaning:", b":near:")):
            assert raw.ttl(key) > 0, key
        if key != near:
            assert word not in raw.dump(key).lower()
    raw.close()


# A store that goes.


@pytest.fixture
def fragile(
    request: pytest.FixtureRequest, upstream: Upstream
) -> Iterator[tuple[Gateway, RedisServer]]:
    with RedisServer.start(request.getfixturevalue("redis8").binary) as server:
        settings = configuration(server.url, upstream)
        settings["store"]["timeout"] = "100ms"
        with open_gateway(settings, upstream) as gateway:
            yield gateway, server


def test_without_a_store_requests_pass(
    fragile: tuple[Gateway, RedisServer], upstream: Upstream, space: dict[str, str]
) -> None:
    gateway, server = fragile
    teach(gateway, space)
    teach(gateway, space, model="same")
    reply = ask(gateway, PARAPHRASE, space)
    found = reply.headers["x-headgate-cache-id"]
    for hurt, heal in ((server.kill, server.restart), (server.pause, server.resume)):
        hurt()
        try:
            for alias in ("tier1", "alone", "same", "local", "dry"):
                for prompt in (PARAPHRASE, STRESSED):
                    reply = ask(gateway, prompt, space, model=alias)
                    assert reply.texts == [text_of(prompt)]
                    assert reply.headers["x-headgate-cache"] == "bypass"
                    line = gateway.line(reply.headers["x-request-id"])
                    assert line["total_ms"] < 1500
            eventually(lambda: gateway.get("/metrics/shared", None).status == 503)
            reply = gateway.get("/metrics/shared", None)
            assert reply.error["code"] == "store_unavailable"
            body = json.dumps({"id": found, "verdict": "bad"}).encode()
            reply = gateway.ask("POST", "/v1/cache/feedback", content=body)
            assert (reply.status, reply.error["code"]) == (503, "store_unavailable")
        finally:
            heal()
        eventually(lambda: gateway.get("/health/ready", None).status == 200)
        eventually(lambda: gateway.get("/metrics/shared", None).status == 200)
        anew = {"x-headgate-cache-namespace": f"after-{hurt.__name__}"}
        teach(gateway, anew)
        assert served(ask(gateway, PARAPHRASE, anew)) == "tier 1"


# /metrics.


def test_metrics_are_prometheus_text(gateway: Gateway, space: dict[str, str]) -> None:
    teach(gateway, space, model=ODD)
    ask(gateway, PARAPHRASE, space, model=ODD)
    eventually(lambda: metric(gateway, "hits_total", model=ODD, tier="1") >= 1)
    reply = gateway.get("/metrics/shared", None)
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    series = parsed(reply.body.decode())
    assert all(name.startswith("headgate_") for name, _ in series)
    assert all(value >= 0 for value in series.values())


@ANY_STORE
def test_metrics_need_no_key_and_are_only_read(gateway: Gateway) -> None:
    assert gateway.get("/metrics/shared", None).status == 200
    reply = gateway.ask("POST", "/metrics", None)
    assert (reply.status, "GET" in reply.headers["allow"]) == (405, True)


# Crowds.


def completions(upstream: Upstream) -> list[Request]:
    return [request for request in upstream.requests if request.model == "up"]


@pytest.mark.parametrize("alias", ["tier1", "alone", "same"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_crowd_that_means_the_same_is_answered_from_what_is_kept(
    gateway: Gateway, upstream: Upstream, space: dict[str, str], alias: str, stream: bool
) -> None:
    teach(gateway, space, model=alias)
    prompts = [QUESTION, PARAPHRASE, THIRD, PARAPHRASE] * 5
    with ThreadPoolExecutor(20) as pool:
        replies = list(
            pool.map(lambda p: ask(gateway, p, space, model=alias, stream=stream), prompts)
        )
    texts = [r.streamed_texts()[0] if stream else r.texts[0] for r in replies]
    assert texts == [text_of(QUESTION)] * 20
    assert {served(reply) for reply in replies} == {"exact", "tier 1"}
    assert len(completions(upstream)) == 1


@pytest.mark.parametrize("alias", ["tier1", "alone", "same"])
def test_a_crowd_that_asks_anew_hangs_nobody(
    gateway: Gateway, upstream: Upstream, space: dict[str, str], alias: str
) -> None:
    gate = upstream.gate()

    async def held(request: Request, wire: Wire) -> None:
        await gate.wait()
        await saying("the one answer")(request, wire)

    upstream.on("up", held)
    prompts = [QUESTION, PARAPHRASE, THIRD, STRESSED] * 5
    with ThreadPoolExecutor(20) as pool:
        asked = [
            pool.submit(ask, gateway, prompt, space, model=alias, stream=number % 2 == 0)
            for number, prompt in enumerate(prompts)
        ]
        eventually(lambda: len({r.document["prompt"] for r in completions(upstream)}) == 4)
        gate.open()
        replies = [one.result() for one in asked]
    texts = [r.streamed_texts()[0] if n % 2 == 0 else r.texts[0] for n, r in enumerate(replies)]
    assert texts == ["the one answer"] * 20
    if alias != "alone":
        assert (
            len(completions(upstream)) == 4
        )  # one a wording: they fly together with their own kind only


@ANY_STORE
def test_a_leader_served_by_meaning_leaves_no_flight_behind(
    gateway: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    teach(gateway, space)
    for _ in range(3):
        assert served(ask(gateway, PARAPHRASE, space)) == "tier 1"
    ask(gateway, PARAPHRASE, space | {"cache-control": "no-cache"})
    eventually(lambda: served(only(gateway, PARAPHRASE, space)) == "exact")
    reply = ask(gateway, PARAPHRASE, space)
    assert gateway.line(reply.headers["x-request-id"])["total_ms"] < 1000


@pytest.mark.alone  # within the timeout of its encoder
@BOTH_TIERS
def test_who_waits_for_a_leader_that_is_answered_by_meaning_is_answered_too(
    gateway: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    teach(gateway, space, model="odd")
    upstream.on("embed-odd", embedding(lambda text: [1.0]))
    keep(gateway, QUESTION + "?", space, model="odd", max_tokens=5)
    gate = upstream.gate()
    seen = len(embedded(upstream))

    async def held(request: Request, wire: Wire) -> None:
        await gate.wait()
        await embedding(lambda text: [1.0])(request, wire)

    upstream.on("embed-odd", held)
    body = {"model": "odd", "prompt": STRESSED, "temperature": 0, "max_tokens": 5}
    name = space["x-headgate-cache-namespace"]
    data = raw_request(json.dumps(body).encode(), headers=[f"x-headgate-cache-namespace: {name}"])
    calls = len(completions(upstream))
    with ExitStack() as stack:
        crowd = [stack.enter_context(gateway.raw()) for _ in range(10)]
        crowd[0].send(data)
        eventually(lambda: len(embedded(upstream)) > seen)
        for connection in crowd[1:]:
            connection.send(data)
        for _ in range(3):  # by now they have been read
            gateway.get("/health/live", None)
        gate.open()
        answers = [connection.answer() for connection in crowd]
    texts = {json.loads(answer.body)["choices"][0]["text"] for answer in answers if answer}
    assert len(answers) == 10
    assert texts == {text_of(QUESTION + "?")}
    assert len(completions(upstream)) == calls


# Changes.


def test_a_reload_that_ends_meanings_ends_them(
    the_upstream: Upstream, upstream: Upstream, space: dict[str, str]
) -> None:
    settings = configuration("memory://", the_upstream)
    with open_gateway(settings, the_upstream) as gateway:
        teach(gateway, space)
        settings["models"]["tier1"]["cache"]["semantic"]["enabled"] = False
        before = gateway.get("/health/ready", None).headers["x-headgate-config"]
        gateway.write(settings)
        gateway.signal(signal.SIGHUP)
        eventually(
            lambda: gateway.get("/health/ready", None).headers["x-headgate-config"] != before
        )
        assert served(only(gateway, PARAPHRASE, space)) is None
        assert served(ask(gateway, QUESTION, space)) == "exact"
