"""One line a request: what happened, and nothing that was said."""

import asyncio
import json
from datetime import datetime
from typing import Any

import pytest

from tests.e2e.wire.test_answers import saying
from tests.harness.credentials import KEY, KEYS
from tests.harness.gateway import Gateway
from tests.harness.prompts import PRIVATE, PROMPT
from tests.harness.raw_connection import raw_request
from tests.harness.upstream import Upstream

FIELDS = {
    "time",
    "level",
    "event",
    "request_id",
    "key",
    "tenant",
    "alias",
    "provider",
    "model",
    "status",
    "error",
    "prompt_tokens",
    "completion_tokens",
    "estimated",
    "cost_usd",
    "cache",
    "attempts",
    "first_byte_ms",
    "total_ms",
    "gateway_ms",
    "method",
    "path",
    "client",
}


def line_of(gateway: Gateway, request_id: str, **fields: Any) -> dict[str, Any]:
    gateway.complete(headers={"x-request-id": request_id}, **fields)
    return gateway.line(request_id)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_line_says_what_happened(gateway: Gateway, upstream: Upstream, stream: bool) -> None:
    line = line_of(gateway, f"says-what-{stream}", model="renamed", stream=stream)
    assert set(line) >= FIELDS
    assert datetime.fromisoformat(line["time"]).tzinfo is not None
    expected = {
        "level": "info",
        "event": "request",
        "key": "all",
        "tenant": "acme",
        "alias": "renamed",
        "provider": "main",
        "model": "org/upstream-name",
        "status": 200,
        "error": None,
        "prompt_tokens": len(PROMPT.split()),
        "completion_tokens": 3,
        "estimated": False,
        "attempts": 1,
    }
    assert expected.items() <= line.items()


def test_times_are_in_order(gateway: Gateway, upstream: Upstream) -> None:
    line = line_of(gateway, "times-in-order")
    assert 0 < line["first_byte_ms"] <= line["total_ms"]
    assert 0 <= line["gateway_ms"] <= line["total_ms"]


def test_the_gateways_own_time_leaves_the_upstreams_out(
    gateway: Gateway, upstream: Upstream
) -> None:
    async def script(request, wire):
        await asyncio.sleep(0.3)
        await wire.answer({"choices": [{"text": PRIVATE, "finish_reason": "stop"}]})

    upstream.on("native", script)
    line = line_of(gateway, "slow-upstream")
    assert line["total_ms"] >= 295
    assert line["gateway_ms"] < 200


def test_each_request_has_one_line(gateway: Gateway, upstream: Upstream) -> None:
    for number in range(5):
        gateway.complete(headers={"x-request-id": "one-line-each"}, stream=bool(number % 2))
    gateway.complete(headers={"x-request-id": "one-line-after"})
    gateway.line("one-line-after")
    assert len(gateway.lines("one-line-each", 5)) == 5


@pytest.mark.parametrize(
    ("fields", "status", "error"),
    [
        ({"n": 0}, 400, "invalid_request"),
        ({"model": "nought"}, 404, "model_not_found"),
        ({"model": "off"}, 501, "not_implemented"),
        ({"model": "chat", "suffix": "x"}, 400, "unsupported_parameter"),
        ({"model": "nobody"}, 502, "upstream_unreachable"),
        ({"key": "hg-wrong-00112233445566778899"}, 401, "invalid_api_key"),
        ({"key": KEYS["expired"]}, 401, "expired_api_key"),
        ({"key": KEYS["embedder"]}, 403, "capability_required"),
    ],
)
def test_a_refusal_has_a_line_too(
    gateway: Gateway, fields: dict[str, Any], status: int, error: str
) -> None:
    line = line_of(gateway, f"refusal-{status}-{error}", **fields)
    assert (line["status"], line["error"]) == (status, error)


def test_a_refused_key_that_is_known_is_named(gateway: Gateway) -> None:
    assert line_of(gateway, "known-but-expired", key=KEYS["expired"])["key"] == "expired"


def test_an_unknown_model_is_not_logged(gateway: Gateway) -> None:
    line = line_of(gateway, "junk-alias", model=f"junk {PRIVATE}")
    assert line["alias"] is None
    assert "junk " not in json.dumps(line)


def test_other_methods_and_bodies_have_lines(gateway: Gateway) -> None:
    gateway.ask("PUT", "/v1/completions", headers={"x-request-id": "a-put"})
    gateway.send(b"{", headers={"x-request-id": "a-cut-body"})
    assert gateway.line("a-put")["error"] == "method_not_allowed"
    assert gateway.line("a-cut-body")["error"] == "invalid_json"


def test_an_upstreams_refusal_has_its_status_in_the_line(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.on("native", saying({"error": {"message": f"no {PRIVATE}"}}, status=422))
    line = line_of(gateway, "refused-upstream")
    assert line["status"] == 422
    assert line["provider"] == "main"


def test_a_models_listing_has_a_line(gateway: Gateway) -> None:
    gateway.get("/v1/models", headers={"x-request-id": "list-models"})
    line = gateway.line("list-models")
    assert (line["status"], line["key"]) == (200, "all")


def test_health_checks_have_no_line(gateway: Gateway) -> None:
    gateway.get("/health/live", headers={"x-request-id": "health-is-quiet"})
    gateway.complete(headers={"x-request-id": "after-health"})
    gateway.line("after-health")
    assert not [text for text in gateway.output if "health-is-quiet" in text]


def test_nothing_that_was_said_is_logged(gateway: Gateway, upstream: Upstream) -> None:
    """The fixture looks at every line of every test; here one of each kind is made."""
    for number, fields in enumerate(
        [
            {},
            {"stream": True},
            {"model": "chat", "prompt": [PROMPT, PROMPT], "echo": True},
            {"model": "chat", "stream": True, "echo": True},
            {"n": 0},
            {"suffix": PRIVATE, "user": PRIVATE, "stop": PRIVATE},
            {"model": "sim"},
        ]
    ):
        gateway.complete(headers={"x-request-id": f"says-nothing-{number}"}, **fields)
        assert PRIVATE not in json.dumps(gateway.line(f"says-nothing-{number}"))


def test_every_line_is_json(gateway: Gateway) -> None:
    gateway.complete(headers={"x-request-id": "last-of-them"})
    gateway.line("last-of-them")
    for text in (*gateway.output, *gateway.errors):
        assert text.startswith("{"), text
        assert isinstance(json.loads(text), dict)


def test_the_gateway_does_not_crash_in_its_own_words(gateway: Gateway) -> None:
    """Whatever the other tests sent, no handler ended with an exception of ours."""
    assert [text for text in gateway.output if json.loads(text).get("event") == "crash"] == []
    assert not [text for text in gateway.errors if "Traceback" in text]


# Only where it was turned on.


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_prompts_are_logged_where_that_is_turned_on(
    strict_gateway: Gateway, upstream: Upstream, stream: bool
) -> None:
    line = line_of(strict_gateway, f"prompts-on-{stream}", stream=stream)
    assert PROMPT in line["prompt"]
    assert PRIVATE in line["completion"]


def test_keys_are_not_logged_even_then(strict_gateway: Gateway, upstream: Upstream) -> None:
    line = line_of(strict_gateway, "prompts-on-keys")
    assert KEY not in json.dumps(line)
    strict_gateway.check_output()


def test_a_refused_body_is_not_lost_on_the_log_either(
    strict_gateway: Gateway, upstream: Upstream
) -> None:
    line = line_of(strict_gateway, "prompts-on-refused", n=0)
    assert line["status"] == 400


def test_what_a_left_caller_got_is_logged_where_that_is_turned_on(
    strict_gateway: Gateway, upstream: Upstream
) -> None:
    async def script(request, wire):
        await wire.begin_stream()
        await wire.event({"choices": [{"text": f"half a {PRIVATE}", "index": 0}]})
        await upstream.gate().wait()

    upstream.on("native", script)
    body = json.dumps({"model": "native", "prompt": "x", "stream": True}).encode()
    with strict_gateway.raw() as caller:
        caller.send(raw_request(body, headers=["x-request-id: prompts-on-left"]))
        caller.read_until(PRIVATE.encode())
    assert f"half a {PRIVATE}" in strict_gateway.line("prompts-on-left")["completion"]
