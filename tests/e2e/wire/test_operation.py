"""Reloading and stopping a running gateway; each test has one of its own."""

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.wire.test_streams import DONE, chunk
from tests.harness.configuration import openai, target
from tests.harness.credentials import KEYS
from tests.harness.exchange import Gate
from tests.harness.gateway import Gateway
from tests.harness.upstream import Upstream


def settings(upstream: Upstream, **models: Any) -> dict[str, Any]:
    return {
        "server": {"shutdown_delay": "0s"},
        "log": {"format": "json"},
        "providers": {"main": openai(upstream.base_url)},
        "models": {"native": target("main", "native")} | models,
        "tenants": {"acme": {}},
        "keys": [{"id": "all", "tenant": "acme", "secret": KEYS["all"]}],
    }


@pytest.fixture
def own(upstream: Upstream) -> Iterator[Gateway]:
    with Gateway(settings(upstream), [upstream.address]) as gateway:
        yield gateway


def held_stream(upstream: Upstream) -> Gate:
    """Let streams of `native` begin, and end once the gate is opened."""
    gate = upstream.gate()

    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(chunk("begun"))
        await gate.wait()
        await wire.event(chunk("", reason="stop"))
        await wire.packet(DONE)
        await wire.end_stream()

    upstream.on("native", script)
    return gate


def wait_for_generation(gateway: Gateway, other_than: str) -> str:
    for _ in range(2000):
        generation = gateway.get("/health/live", None).document["generation"]
        if generation != other_than:
            return str(generation)
    raise AssertionError("the new configuration was not taken")


def test_a_reload_takes_the_new_file_and_finishes_what_runs(
    own: Gateway, upstream: Upstream
) -> None:
    before = own.get("/health/live", None).document["generation"]
    gate = held_stream(upstream)
    with own.stream() as payloads:
        next(payloads)
        own.write(settings(upstream, fresh=target("main", "fresh")))
        own.signal(signal.SIGHUP)
        wait_for_generation(own, before)
        assert own.complete(model="fresh").status == 200
        gate.open()
        assert list(payloads)[-1] == b"[DONE]"


def test_a_reload_can_take_a_model_and_a_key_away(own: Gateway, upstream: Upstream) -> None:
    before = own.get("/health/live", None).document["generation"]
    less = settings(upstream, other=target("main", "other"))
    del less["models"]["native"]
    own.write(less)
    own.signal(signal.SIGHUP)
    wait_for_generation(own, before)
    assert own.complete().status == 404


def test_a_bad_file_changes_nothing_and_says_why(own: Gateway, upstream: Upstream) -> None:
    before = own.get("/health/live", None).document["generation"]
    own.write(settings(upstream, broken=target("nobody-here", "x")))
    own.signal(signal.SIGHUP)
    assert "nobody-here" in own.wait_for_error("nobody-here")
    assert own.get("/health/live", None).document["generation"] == before
    assert own.complete().status == 200


def test_a_file_that_is_no_yaml_changes_nothing(own: Gateway, upstream: Upstream) -> None:
    own.file.write_text("{ not: [yaml")
    own.signal(signal.SIGHUP)
    own.wait_for_error("YAML")
    assert own.complete().status == 200


def test_a_stop_finishes_running_streams_first(own: Gateway, upstream: Upstream) -> None:
    gate = held_stream(upstream)
    with own.stream() as payloads:
        assert json.loads(next(payloads))["choices"][0]["text"] == "begun"
        own.signal(signal.SIGTERM)
        gate.open()
        assert list(payloads)[-1] == b"[DONE]"
    assert own.wait_for_exit() == 0


def test_readiness_goes_before_the_gateway_does(upstream: Upstream) -> None:
    more = settings(upstream) | {"server": {"shutdown_delay": "2s"}}
    with Gateway(more, [upstream.address]) as gateway:
        gateway.signal(signal.SIGTERM)
        for _ in range(2000):
            ready = gateway.get("/health/ready", None)
            if ready.status != 200:
                break
        assert ready.status == 503
        assert ready.document["reason"] == "shutting_down"
        assert ready.document["generation"] == ready.headers["x-headgate-config"]
        assert gateway.get("/health/live", None).status == 200
        assert gateway.complete().status == 200
