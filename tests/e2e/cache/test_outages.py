"""The store gone, and targets that change while answers are kept."""

from __future__ import annotations

import copy
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cache.asking import ONLY_CACHED, ask, how, saying, warm
from tests.e2e.cache.configuration import configuration
from tests.harness.command import command
from tests.harness.gateway import Gateway, open_gateway
from tests.harness.good_server import text_of
from tests.harness.prompts import unseen
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

ANY = pytest.mark.parametrize("fields", [{}, {"temperature": 0}], ids=["alone", "shared"])


@pytest.fixture(scope="module", params=["no shelf", "a shelf"])
def fragile(
    request: pytest.FixtureRequest, server: RedisServer, the_upstream: Upstream
) -> Iterator[Gateway]:
    shelf = {"shelf_size": "0" if request.param == "no shelf" else "16MiB"}
    settings = configuration(server.url, the_upstream, cache=shelf)
    with open_gateway(settings, the_upstream) as gateway:
        yield gateway


def ready(gateway: Gateway) -> bool:
    return gateway.get("/health/ready", None).status == 200


@ANY
def test_without_a_store_requests_are_answered_and_say_bypass(
    fragile: Gateway, server: RedisServer, upstream: Upstream, fields: dict[str, Any]
) -> None:
    prompt = unseen()
    warm(fragile, prompt, **fields)
    assert how(ask(fragile, prompt, **fields)) == "hit"
    server.kill()
    try:
        for _ in range(5):
            fresh = unseen()
            for stream in (False, True):
                reply = ask(fragile, fresh, stream=stream, **fields)
                assert how(reply) == "bypass"
                assert not {"age", "x-headgate-cache-layer"} & set(reply.headers)
            assert fragile.line(reply.headers["x-request-id"])["cache"] == "bypass"
        both = [unseen(), unseen()]
        reply = ask(fragile, both, **fields)
        assert (how(reply), reply.texts) == ("bypass", [text_of(p) for p in both])
        # What was known cannot be known to be unpurged: nobody may say that it is.
        eventually(lambda: how(ask(fragile, prompt, **fields)) == "bypass", within=2)
        only = ask(fragile, unseen(), headers=ONLY_CACHED, **fields)
        assert (only.status, only.error["code"]) == (504, "not_cached")
        eventually(lambda: not ready(fragile))
    finally:
        server.restart()
    eventually(lambda: ready(fragile))
    prompt = unseen()
    eventually(lambda: how(ask(fragile, prompt, **fields)) == "hit")
    assert how(ask(fragile, prompt, **fields)) == "hit"


@ANY
def test_a_store_that_hangs_does_not_hold_anybody_up(
    fragile: Gateway, server: RedisServer, upstream: Upstream, fields: dict[str, Any]
) -> None:
    server.pause()
    try:
        for _ in range(3):
            reply = ask(fragile, unseen(), **fields)
            assert how(reply) == "bypass"
            line = fragile.line(reply.headers["x-request-id"])
            assert line["total_ms"] < 1000
    finally:
        server.resume()
    eventually(lambda: ready(fragile))
    prompt = unseen()
    eventually(lambda: how(ask(fragile, prompt, **fields)) == "hit")


def test_a_purge_without_a_store_says_so(
    fragile: Gateway, server: RedisServer, upstream: Upstream
) -> None:
    server.kill()
    try:
        done = command("cache", "purge", "--yes", "--config", str(fragile.file))
        assert done.returncode == 1
        assert "store" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        server.restart()
    eventually(lambda: ready(fragile))


def test_a_store_in_the_process_cannot_be_purged_from_outside(the_upstream: Upstream) -> None:
    with open_gateway(configuration("memory://", the_upstream), the_upstream) as gateway:
        done = command("cache", "purge", "--yes", "--config", str(gateway.file))
    assert done.returncode == 1
    assert "memory://" in done.stderr


# Another target.


def reload(gateway: Gateway, settings: dict[str, Any]) -> None:
    before = gateway.get("/health/ready", None).headers.get("x-headgate-config")
    gateway.write(settings)
    gateway.signal(signal.SIGHUP)
    eventually(
        lambda: gateway.get("/health/ready", None).headers.get("x-headgate-config") != before
    )


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_answers_of_another_target_are_no_answers(
    redis_server: RedisServer, the_upstream: Upstream, upstream: Upstream, kind: str
) -> None:
    url = "memory://" if kind == "memory" else redis_server.url
    settings = configuration(url, the_upstream)
    prompt = unseen()
    with open_gateway(settings, the_upstream) as gateway, Upstream() as another:
        warm(gateway, prompt)
        moved = copy.deepcopy(settings)
        moved["providers"]["main"]["base_url"] = another.base_url
        another.on("up", saying("from elsewhere"))
        reload(gateway, moved)
        reply = ask(gateway, prompt)
        assert (how(reply), reply.texts) == ("miss", ["from elsewhere"])

        renamed = copy.deepcopy(settings)
        renamed["models"]["cached"]["targets"][0]["model"] = "up-2"
        upstream.on("up-2", saying("of another model"))
        reload(gateway, renamed)
        reply = ask(gateway, prompt)
        assert (how(reply), reply.texts) == ("miss", ["of another model"])

        chatting = copy.deepcopy(settings)
        chatting["models"]["cached"]["completions"] = "chat"
        reload(gateway, chatting)
        assert how(ask(gateway, prompt)) == "miss"

        # What changes nothing about the answer keeps what there is.
        patient = copy.deepcopy(settings)
        patient["providers"]["main"]["timeouts"]["idle"] = "9s"
        patient["models"]["cached"]["cache"] = {"exact": {"ttl": "2h"}}
        reload(gateway, patient)
        reply = ask(gateway, prompt)
        assert (how(reply), reply.texts) == ("hit", [text_of(prompt)])


def test_a_file_without_a_cache_ends_caching(the_upstream: Upstream, upstream: Upstream) -> None:
    settings = configuration("memory://", the_upstream)
    prompt = unseen()
    with open_gateway(settings, the_upstream) as gateway:
        warm(gateway, prompt)
        without = copy.deepcopy(settings)
        del without["models"]["cached"]["cache"]
        reload(gateway, without)
        assert how(ask(gateway, prompt)) is None


def test_answers_outlive_a_gateway_in_a_shared_store(
    redis_server: RedisServer, the_upstream: Upstream, upstream: Upstream
) -> None:
    settings = configuration(redis_server.url, the_upstream)
    prompt = unseen()
    with open_gateway(settings, the_upstream) as gateway:
        first = warm(gateway, prompt)
    with open_gateway(settings, the_upstream) as gateway:
        again = ask(gateway, prompt, stream=False)
    assert (how(again), again.body) == ("hit", first.body)
