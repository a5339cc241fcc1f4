"""The headers of an answer: who gave it, its id, and nothing of the upstream's."""

import re

import pytest

from tests.e2e.wire.test_answers import completion, saying
from tests.harness.gateway import Gateway
from tests.harness.upstream import Upstream

# The answer's headers.


def test_an_answer_names_who_gave_it(gateway: Gateway, upstream: Upstream) -> None:
    headers = gateway.complete(model="renamed").headers
    assert headers["x-provider"] == "main"
    assert headers["x-model"] == "org/upstream-name"
    assert headers["x-headgate-attempts"] == "1"
    assert re.fullmatch(r"[0-9a-f]{6,}", headers["x-headgate-config"])


def test_a_stream_names_who_gives_it(gateway: Gateway, upstream: Upstream) -> None:
    headers = gateway.complete(model="renamed", stream=True).headers
    assert headers["x-provider"] == "main"
    assert headers["x-model"] == "org/upstream-name"
    assert headers["x-headgate-attempts"] == "1"


def test_a_bridged_answer_counts_its_calls(gateway: Gateway, upstream: Upstream) -> None:
    headers = gateway.complete(model="chat", prompt=["a", "b", "c"]).headers
    assert headers["x-headgate-attempts"] == "3"


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "x" * 128])
def test_a_sane_request_id_is_kept(gateway: Gateway, name: str) -> None:
    assert gateway.complete(headers={"x-request-id": name}).headers["x-request-id"] == name


@pytest.mark.parametrize("name", ["", "x" * 129, "a b", "a/b", "é".encode(), "a,b", "{}"])
def test_an_odd_request_id_is_replaced(gateway: Gateway, name: str) -> None:
    given = gateway.complete(headers={"x-request-id": name}).headers["x-request-id"]
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", given)
    assert given != name


def test_a_request_without_an_id_gets_one_of_its_own(gateway: Gateway) -> None:
    ids = {gateway.complete().headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/completions/", None),
        ("GET", "/v1/completions", 405),
        ("POST", "/v1/completions", 401),
        ("GET", "/v1/models/nothing", 401),
        ("POST", "/health/live", 405),
        ("GET", "/health/live", 200),
    ],
)
def test_every_answer_has_an_id_and_a_generation(
    gateway: Gateway, method: str, path: str, status: int | None
) -> None:
    reply = gateway.ask(method, path, None, {"x-request-id": "mine"})
    assert status is None or reply.status == status
    assert reply.headers["x-request-id"] == "mine"
    assert reply.headers["x-headgate-config"]


@pytest.mark.parametrize("stream", [False, True])
def test_an_upstreams_headers_do_not_come_back(
    gateway: Gateway, upstream: Upstream, stream: bool
) -> None:
    secret = [
        ("set-cookie", "a=b"),
        ("server", "vllm-internal"),
        ("x-internal-host", "gpu-17"),
        ("x-request-id", "upstreams-own"),
        ("openai-organization", "org-5"),
        ("location", "http://elsewhere/"),
    ]

    async def script(request, wire):
        if not stream:
            await wire.answer(completion(), headers=secret)
            return
        await wire.begin_stream(secret)
        await wire.event(completion())
        await wire.event(b"[DONE]")
        await wire.end_stream()

    upstream.on("native", script)
    reply = gateway.complete(stream=stream)
    assert reply.status == 200
    assert not {"set-cookie", "x-internal-host", "openai-organization", "location"} & set(
        reply.headers
    )
    assert "vllm" not in str(reply.headers)
    assert reply.headers.get_list("x-request-id") != ["upstreams-own"]


def test_a_model_name_with_line_breaks_cannot_break_the_headers(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.on("native", saying(completion(model="a\r\nset-cookie: x=1\r\n\té漢")))
    reply = gateway.complete()
    assert reply.status == 200
    assert "set-cookie" not in reply.headers
