"""An upstream's own refusals, in the one envelope, with nothing in them that must stay inside."""

import json
from typing import Any

import pytest

from tests.e2e.wire.test_answers import saying
from tests.harness.credentials import KEY, OPERATOR_SECRET, PROVIDER_KEY
from tests.harness.gateway import Gateway
from tests.harness.upstream import Upstream

DIALECTS: dict[str, tuple[Any, str, str | None, str]] = {
    "openai": (
        {"error": {"message": "too hot", "type": "t", "param": "temperature", "code": "bad_temp"}},
        "too hot",
        "temperature",
        "bad_temp",
    ),
    "vllm": (
        {"object": "error", "message": "too hot", "type": "BadRequest", "param": "n", "code": 400},
        "too hot",
        "n",
        "invalid_request",
    ),
    "integer code": (
        {"error": {"message": "too hot", "type": "BadRequest", "param": None, "code": 400}},
        "too hot",
        None,
        "invalid_request",
    ),
    "fastapi": ({"detail": "too hot"}, "too hot", None, "invalid_request"),
    "fastapi validation": (
        {"detail": [{"loc": ["body", "n"], "msg": "too hot", "type": "int"}]},
        "too hot",
        "n",
        "invalid_request",
    ),
    "body.n": (
        {"error": {"message": "too hot", "param": "body.n", "code": None}},
        "too hot",
        "n",
        "invalid_request",
    ),
    "bare error": ({"error": "too hot"}, "too hot", None, "invalid_request"),
    "tgi": ({"error": "too hot", "error_type": "validation"}, "too hot", None, "invalid_request"),
    "json string": ("too hot", "too hot", None, "invalid_request"),
    "text": (b"too hot", "too hot", None, "invalid_request"),
    "message only": ({"message": "too hot"}, "too hot", None, "invalid_request"),
    "detail in error": ({"error": {"detail": "too hot"}}, "too hot", None, "invalid_request"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(
    ("body", "message", "param", "code"), DIALECTS.values(), ids=DIALECTS.keys()
)
def test_every_dialect_becomes_the_one_envelope(
    gateway: Gateway,
    upstream: Upstream,
    body: Any,
    message: str,
    param: str | None,
    code: str,
    stream: bool,
) -> None:
    upstream.on("native", saying(body, status=400))
    reply = gateway.complete(stream=stream)
    assert reply.status == 400
    assert message in reply.error["message"]
    assert reply.error["param"] == param
    assert reply.error["code"] == code
    assert reply.error["type"] == "invalid_request_error"


EMPTY = {
    "nothing": b"",
    "html": b"<html><body>nginx</body></html>",
    "null": b"null",
    "a number": b"5",
    "an empty object": b"{}",
    "an empty error": {"error": {}},
    "a message no string": {"error": {"message": {"a": 1}}},
    "an empty list": {"detail": []},
    "binary": b"\xff\xfe\x00",
    "odd members": {"error": {"message": ["x"], "code": {"a": 1}, "param": [1]}},
    "a location no list": {"detail": [{"loc": 5, "msg": "x"}]},
    "a location a string": {"detail": [{"loc": "body", "msg": "x"}]},
    "deep": b"[" * 60_000,
}


@pytest.mark.parametrize("body", EMPTY.values(), ids=EMPTY.keys())
def test_a_refusal_without_words_still_has_an_envelope(
    gateway: Gateway, upstream: Upstream, body: Any
) -> None:
    upstream.on("native", saying(body, status=400))
    reply = gateway.complete()
    assert reply.status == 400
    assert reply.error["message"]


@pytest.mark.parametrize("status", [400, 404, 405, 409, 413, 415, 418, 422, 429, 451, 499])
def test_an_upstreams_4xx_keeps_its_status(
    gateway: Gateway, upstream: Upstream, status: int
) -> None:
    upstream.on("native", saying({"error": {"message": "no", "code": status}}, status=status))
    reply = gateway.complete()
    assert reply.status == status
    assert isinstance(reply.error["code"], str)


@pytest.mark.parametrize("model", ["native", "chat"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_the_operators_problem(
    gateway: Gateway, upstream: Upstream, status: int, stream: bool, model: str
) -> None:
    text = f"Incorrect API key provided: {PROVIDER_KEY}"
    upstream.on("native", saying({"error": {"message": text}}, status=status))
    upstream.on("chatty", saying({"error": {"message": text}}, status=status))
    reply = gateway.complete(model=model, stream=stream)
    assert reply.status == 502
    assert reply.error["type"] == "upstream_error"
    assert reply.error["code"] == "upstream_auth_failed"
    assert reply.headers["x-should-retry"] == "false"
    assert "www-authenticate" not in reply.headers


@pytest.mark.parametrize("status", [500, 502, 505, 520, 599])
def test_an_upstreams_5xx_is_a_502(gateway: Gateway, upstream: Upstream, status: int) -> None:
    upstream.on("native", saying({"error": {"message": "trace at /srv/app"}}, status=status))
    reply = gateway.complete()
    assert (reply.status, reply.error["code"]) == (502, "upstream_invalid_response")
    assert "/srv/app" not in reply.error["message"]


@pytest.mark.parametrize("status", [503, 529])
def test_an_overloaded_upstream_is_a_503(gateway: Gateway, upstream: Upstream, status: int) -> None:
    upstream.on("native", saying({}, status=status, headers=[("retry-after", "7")]))
    reply = gateway.complete()
    assert (reply.status, reply.error["code"]) == (503, "upstream_overloaded")
    assert reply.error["type"] == "service_unavailable"
    assert reply.headers["retry-after"] == "7"


def test_an_upstreams_504_is_a_timeout(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("native", saying({}, status=504))
    reply = gateway.complete()
    assert (reply.status, reply.error["code"]) == (504, "upstream_timeout")


def test_an_upstream_without_the_endpoint_is_a_501(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("native", saying({"error": {"message": "no such endpoint"}}, status=501))
    reply = gateway.complete()
    assert (reply.status, reply.error["code"]) == (501, "not_implemented")


def test_a_rate_limit_keeps_its_retry_after(gateway: Gateway, upstream: Upstream) -> None:
    headers = [("retry-after", "3"), ("retry-after-ms", "2500"), ("x-ratelimit-limit", "5")]
    body = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
    upstream.on("native", saying(body, status=429, headers=headers))
    reply = gateway.complete()
    assert reply.status == 429
    assert reply.error["type"] == "rate_limit_error"
    assert reply.error["code"] == "rate_limit_exceeded"
    assert reply.headers["retry-after"] == "3"
    assert reply.headers["retry-after-ms"] == "2500"


def test_a_retry_after_that_is_no_number_is_dropped(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("native", saying({}, status=429, headers=[("retry-after", "soon <b>")]))
    assert "<b>" not in str(gateway.complete().headers)


def test_a_context_length_error_keeps_its_code(gateway: Gateway, upstream: Upstream) -> None:
    body = {"error": {"message": "too long", "code": "context_length_exceeded", "param": "prompt"}}
    upstream.on("native", saying(body, status=400))
    assert gateway.complete().error["code"] == "context_length_exceeded"


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_refusal_that_a_retry_cannot_help_says_so(
    gateway: Gateway, upstream: Upstream, status: int
) -> None:
    upstream.on("native", saying({"error": {"message": "no"}}, status=status))
    assert gateway.complete().headers["x-should-retry"] == "false"


SECRETS = [
    PROVIDER_KEY,
    OPERATOR_SECRET,
    KEY,
    "Bearer abcdef0123456789",
    "sk-proj-0123456789abcdef",
    "http://10.1.2.3:8000/v1/completions",
    "https://vllm.internal:8443/x?y=z",
    "http://user:pass@gpu-17/",
    "10.1.2.3",
    "192.168.0.7:9000",
    "localhost:8000",
    "vllm-0.inference.svc.cluster.local:8000",
    "[fd00::1]:8000",
    "redis://store.internal/0",
]


@pytest.mark.parametrize("shape", ["message", "text", "detail", "validation", "code", "param"])
@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_and_addresses_are_taken_out(
    gateway: Gateway, upstream: Upstream, secret: str, shape: str
) -> None:
    text = f"calling {secret} failed"
    body: Any = {
        "message": {"error": {"message": text}},
        "text": text.encode(),
        "detail": {"detail": text},
        "validation": {"detail": [{"loc": ["body", secret], "msg": text}]},
        "code": {"error": {"message": "no", "code": secret}},
        "param": {"error": {"message": "no", "param": secret}},
    }[shape]
    upstream.on("native", saying(body, status=400))
    reply = gateway.complete()
    bare = secret.removeprefix("Bearer ")
    assert reply.status == 400
    assert bare not in reply.body.decode()
    assert bare not in json.dumps(gateway.line(reply.headers["x-request-id"]))


def test_the_real_upstreams_address_is_taken_out(gateway: Gateway, upstream: Upstream) -> None:
    body = {"error": {"message": f"POST {upstream.base_url}/completions: no"}}
    upstream.on("native", saying(body, status=400))
    reply = gateway.complete()
    assert str(upstream.port) not in reply.body.decode()
    assert "no" in reply.error["message"]


def test_a_long_refusal_is_cut(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("native", saying({"error": {"message": "x" * 60_000}}, status=400))
    assert len(gateway.complete().body) < 5000


def test_an_endless_refusal_is_not_read(gateway: Gateway, upstream: Upstream) -> None:
    async def script(request, wire):
        await wire.send(b"HTTP/1.1 400 No\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await wire.packet(b"x" * 10_000)

    upstream.on("native", script)
    assert gateway.complete().status == 400
    assert upstream.request.connection.closed.wait(5)


def test_a_refusal_that_is_cut_off_is_still_a_refusal(gateway: Gateway, upstream: Upstream) -> None:
    async def script(request, wire):
        await wire.send(b"HTTP/1.1 422 No\r\ncontent-length: 5000\r\n\r\n{")
        wire.close()

    upstream.on("native", script)
    assert gateway.complete().status == 422


def test_a_connection_serves_on_after_a_refusal(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("native", saying({"error": {"message": "no"}}, status=400))
    gateway.complete()
    gateway.complete()
    first, second = upstream.wait_for(2)
    assert first.connection is second.connection


def test_an_error_event_inside_a_stream_hides_what_is_inside(
    gateway: Gateway, upstream: Upstream
) -> None:
    async def script(request, wire):
        await wire.begin_stream()
        await wire.event({"choices": [{"text": "a", "index": 0}]})
        await wire.event({"error": {"message": f"{PROVIDER_KEY} at {upstream.base_url}"}})
        await wire.end_stream()

    upstream.on("native", script)
    reply = gateway.complete(stream=True)
    assert PROVIDER_KEY not in reply.body.decode()
    assert upstream.address not in reply.body.decode()
