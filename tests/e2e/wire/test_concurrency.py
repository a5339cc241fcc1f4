"""Many callers at once: nobody gets another's answer."""

import asyncio
import json
import random
import time
from typing import Any

import httpx
import pytest

from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway
from tests.harness.good_server import good_server, text_of
from tests.harness.prompts import PRIVATE
from tests.harness.raw_connection import raw_request
from tests.harness.upstream import Upstream
from tests.harness.waiting import PATIENCE

MODELS = ["native", "chat", "poor-chat", "renamed"]


def together(gateway: Gateway, bodies: list[dict[str, Any]]) -> list[httpx.Response]:
    async def ask() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
        async with httpx.AsyncClient(
            timeout=PATIENCE * 3, limits=limits, trust_env=False
        ) as client:
            return await asyncio.gather(
                *(
                    client.post(
                        gateway.url + "/v1/completions",
                        json=body,
                        headers={"authorization": f"Bearer {KEY}", "x-request-id": f"many-{i}"},
                    )
                    for i, body in enumerate(bodies)
                )
            )

    return asyncio.run(ask())


def texts(response: httpx.Response, stream: bool) -> dict[int, str]:
    if not stream:
        return {choice["index"]: choice["text"] for choice in response.json()["choices"]}
    *events, done, rest = response.content.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    found: dict[int, str] = {}
    for event in events:
        for choice in json.loads(event.removeprefix(b"data: "))["choices"]:
            found[choice["index"]] = found.get(choice["index"], "") + choice["text"]
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_two_hundred_mixed_requests_are_not_mixed_up(
    gateway: Gateway, upstream: Upstream, seed: int
) -> None:
    chance = random.Random(seed)

    async def script(request, wire):
        await asyncio.sleep(chance.random() / 50)  # so that answers overtake one another
        await good_server(request, wire)

    for model in ("native", "chatty", "poor", "org/upstream-name"):
        upstream.on(model, script)
    bodies = [
        {
            "model": chance.choice(MODELS),
            "prompt": chance.choice([f"{PRIVATE}-{i}", [f"{PRIVATE}-{i}-a", f"{PRIVATE}-{i}-b"]]),
            "stream": chance.random() < 0.5,
        }
        for i in range(200)
    ]
    for i, (body, response) in enumerate(zip(bodies, together(gateway, bodies), strict=True)):
        prompts = body["prompt"] if isinstance(body["prompt"], list) else [body["prompt"]]
        expected = {index: text_of(prompt) for index, prompt in enumerate(prompts)}
        assert response.status_code == 200
        assert response.headers["x-request-id"] == f"many-{i}"
        assert texts(response, body["stream"]) == expected


def test_good_and_bad_requests_side_by_side_are_not_mixed_up(
    gateway: Gateway, upstream: Upstream
) -> None:
    async def broken(request, wire):
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{")
        wire.close()

    async def cut(request, wire):
        await wire.begin_stream()
        wire.reset()

    upstream.on("team-red", broken)
    upstream.on("slashed", cut)
    kinds: list[tuple[dict[str, Any], int]] = [
        ({"model": "native"}, 200),
        ({"model": "team-red"}, 502),
        ({"model": "org/slashed", "stream": True}, 502),
        ({"model": "native", "n": 0}, 400),
        ({"model": "nought"}, 404),
        ({"model": "chat", "stream": True}, 200),
    ]
    bodies = [
        kinds[i % len(kinds)][0] | {"prompt": f"{PRIVATE}-{i}"} for i in range(len(kinds) * 25)
    ]
    for i, response in enumerate(together(gateway, bodies)):
        assert response.status_code == kinds[i % len(kinds)][1]
        if response.status_code == 200:
            expected = {0: text_of(f"{PRIVATE}-{i}")}
            assert texts(response, bodies[i].get("stream", False)) == expected


def test_a_slow_model_does_not_hold_up_the_others(gateway: Gateway, upstream: Upstream) -> None:
    gate = upstream.gate()

    async def script(request, wire):
        await wire.begin_stream()
        await wire.event({"choices": [{"text": "x", "index": 0}]})
        await gate.wait()

    upstream.on("team-red", script)
    with gateway.stream(model="team-red") as payloads:
        next(payloads)
        assert all(gateway.complete().status == 200 for _ in range(20))


@pytest.mark.parametrize(("model", "n"), [("chat", 128), ("poor-chat", 32), ("sim", 8)])
def test_a_request_of_many_choices_does_not_hold_up_the_others(
    gateway: Gateway, upstream: Upstream, model: str, n: int
) -> None:
    async def script(request, wire):
        await upstream.gate().wait()

    upstream.on("chatty", script)
    upstream.on("poor", script)
    body = json.dumps({"model": model, "prompt": ["x"] * 2048, "n": n}).encode()
    longest = 0.0
    with gateway.raw() as caller:
        caller.send(raw_request(body))
        for _ in range(300):
            began = time.monotonic()
            assert gateway.get("/health/live", None).status == 200
            longest = max(longest, time.monotonic() - began)
    assert longest < 1


def test_every_request_of_many_has_its_line(gateway: Gateway, upstream: Upstream) -> None:
    bodies = [{"model": "native", "prompt": "a " * (i + 1)} for i in range(50)]
    responses = together(gateway, bodies)
    gateway.complete(headers={"x-request-id": "after-the-many"})
    gateway.line("after-the-many")
    for i, response in enumerate(responses):
        line = gateway.lines(response.headers["x-request-id"], 1)[-1]
        assert line["prompt_tokens"] == i + 1
