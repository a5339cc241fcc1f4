"""A caller that does not read is given up, and the upstream call with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway
from tests.harness.raw_connection import raw_request
from tests.harness.upstream import Upstream


@pytest.fixture
def impatient(upstream: Upstream) -> Iterator[Gateway]:
    configuration = {
        "server": {"send_timeout": "300ms"},
        "providers": {"up": {"kind": "openai", "base_url": upstream.base_url}},
        "models": {"up": {"targets": [{"provider": "up", "model": "endless"}]}},
        "tenants": {"t": {}},
        "keys": [{"id": "k", "tenant": "t", "secret": KEY}],
    }
    with Gateway(configuration) as gateway:
        yield gateway


def test_a_caller_that_does_not_read_is_given_up(impatient: Gateway, upstream: Upstream) -> None:
    async def endless(request: Any, wire: Any) -> None:
        await wire.begin_stream()
        choice = {"text": "x" * 4000, "index": 0, "logprobs": None, "finish_reason": None}
        while True:
            await wire.event({"id": "cmpl-1", "model": "m", "created": 1, "choices": [choice]})

    upstream.on("endless", endless)
    body = json.dumps({"model": "up", "prompt": "x", "stream": True}).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with impatient.raw() as connection:
        connection.send(head.encode() + body)
        [request] = upstream.wait_for(1)
        assert request.connection.closed.wait(8)


def test_so_is_one_that_stops_within_a_large_event(impatient: Gateway, upstream: Upstream) -> None:
    async def endless(request: Any, wire: Any) -> None:
        await wire.begin_stream()
        choice = {"text": "x" * 1_500_000, "index": 0, "logprobs": None, "finish_reason": None}
        while True:
            await wire.event({"id": "cmpl-1", "model": "m", "created": 1, "choices": [choice]})

    upstream.on("endless", endless)
    with impatient.raw() as connection:
        body = json.dumps({"model": "up", "prompt": "x", "stream": True}).encode()
        connection.send(raw_request(body))
        [request] = upstream.wait_for(1)
        assert request.connection.closed.wait(8)
