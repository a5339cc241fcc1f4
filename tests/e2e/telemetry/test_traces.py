"""Spans of a live gateway, as a collector gets them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from app.observability.tracing.context import parent_of
from tests.harness.collector import Collector, attributes
from tests.harness.configuration import PRICE, openai, target
from tests.harness.credentials import KEY, KEYS, PROVIDER_KEY
from tests.harness.gateway import Gateway, open_gateway
from tests.harness.prompts import PROMPT, unseen
from tests.harness.replies import Reply
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

TOKEN = "collector-token-5f1d3a"
PARENT = "00f067aa0ba902b7"


class Traced(NamedTuple):
    gateway: Gateway
    collector: Collector


def configuration(upstream: Upstream, collector: Collector, dead: int) -> dict[str, Any]:
    gone = {"provider": "dead", "model": "gone"}
    return {
        "log": {"format": "json"},
        "tracing": {
            "endpoint": f"http://127.0.0.1:{collector.port}",
            "headers": {"authorization": f"Bearer {TOKEN}"},
            "sample": 0,
        },
        "providers": {
            "main": openai(upstream.base_url),
            "dead": openai(f"http://127.0.0.1:{dead}/v1"),
            "quiet": openai(upstream.base_url, forward_headers=[]),
        },
        "models": {
            "house": target("main", "native", price=PRICE, cache={}),
            "quiet": target("quiet", "native"),
            "spare": {"targets": [gone, {"provider": "main", "model": "native", "tier": 1}]},
        },
        "tenants": {"acme": {}},
        "keys": [{"id": "all", "tenant": "acme", "secret": KEY}],
    }


@pytest.fixture(scope="module")
def the_traced(the_upstream: Upstream, closed_port: int) -> Iterator[Traced]:
    with Collector() as collector:
        settings = configuration(the_upstream, collector, closed_port)
        with open_gateway(settings, the_upstream) as gateway:
            yield Traced(gateway, collector)


@pytest.fixture
def traced(the_traced: Traced, upstream: Upstream) -> Traced:
    return the_traced


def from_caller(number: int, flags: str = "01") -> tuple[str, list[tuple[str, str]]]:
    """A trace of a caller's, and the headers that say so."""
    trace = f"{number:032x}"
    said = f"00-{trace}-{PARENT}-{flags}"
    return trace, [("traceparent", said), ("tracestate", "vendor=1")]


def ask(traced: Traced, headers: list[tuple[str, str]], **fields: Any) -> Reply:
    """A request that nothing in the cache answers, unless it is told what to ask."""
    body = {"model": "house", "prompt": unseen()} | fields
    return traced.gateway.send(body, KEY, headers)


def of_kind(spans: list[Span], kind: int) -> list[Span]:
    return [span for span in spans if span.kind == kind]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_callers_trace_is_continued_and_the_upstream_is_told_a_child(
    traced: Traced, upstream: Upstream, stream: bool
) -> None:
    trace, headers = from_caller(100 + stream)
    asked = {"max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "seed": 3, "stop": ["never this"]}
    reply = ask(traced, headers, stream=stream, **asked)
    assert reply.status == 200
    spans = traced.collector.trace(trace, 2)
    [server] = of_kind(spans, Span.SPAN_KIND_SERVER)
    [client] = of_kind(spans, Span.SPAN_KIND_CLIENT)
    assert server.parent_span_id.hex() == PARENT
    assert client.parent_span_id == server.span_id
    told = parent_of(upstream.requests[-1].headers["traceparent"].encode())
    assert told == (trace, client.span_id.hex(), True)
    assert upstream.requests[-1].headers["tracestate"] == "vendor=1"

    assert server.name == "POST /v1/completions"
    said = attributes(server)
    assert said["http.response.status_code"] == 200
    assert said["http.route"] == "/v1/completions"
    assert (said["headgate.key"], said["headgate.tenant"]) == ("all", "acme")
    assert said["headgate.request_id"] == reply.headers["x-request-id"]
    assert said["client.address"] == "127.0.0.1"

    assert client.name == "text_completion native"
    said = attributes(client)
    assert said["gen_ai.operation.name"] == "text_completion"
    assert said["gen_ai.provider.name"] == "openai"
    assert said["gen_ai.request.model"] == "native"
    assert said["gen_ai.request.max_tokens"] == 7
    assert (said["gen_ai.request.temperature"], said["gen_ai.request.seed"]) == (0.5, 3)
    assert said["gen_ai.usage.output_tokens"] > 0
    assert ("gen_ai.response.time_to_first_chunk" in said) == stream
    assert server.start_time_unix_nano <= client.start_time_unix_nano
    assert client.end_time_unix_nano <= server.end_time_unix_nano
    assert traced.gateway.line(reply.headers["x-request-id"])["trace_id"] == trace


def test_failures_are_sent_though_nobody_sampled_them(traced: Traced) -> None:
    trace, headers = from_caller(200, "00")
    assert ask(traced, headers, model="spare").status == 200
    spans = traced.collector.trace(trace, 4)  # the first target is asked twice
    *failures, answered = of_kind(spans, Span.SPAN_KIND_CLIENT)
    failed = failures[-1]
    assert attributes(failed)["error.type"] == "upstream_unreachable"
    assert (failed.status.code, answered.status.code) == (2, 0)
    trace, headers = from_caller(201, "00")
    assert ask(traced, headers, model="nothing").status == 404
    [refused] = traced.collector.trace(trace, 1)
    assert attributes(refused)["headgate.error"] == "model_not_found"


def test_what_is_not_sampled_is_not_sent_and_neither_are_strangers(
    traced: Traced, upstream: Upstream
) -> None:
    quiet, headers = from_caller(300, "00")
    assert ask(traced, headers).status == 200
    told = parent_of(upstream.requests[-1].headers["traceparent"].encode())
    assert told is not None
    assert (told.trace_id, told.sampled) == (quiet, False)
    stranger, headers = from_caller(301, "00")
    assert traced.gateway.complete("hg-nobody-0123456789abcdef", headers).status == 401
    last, headers = from_caller(302)
    assert ask(traced, headers).status == 200
    traced.collector.trace(last, 2)  # it came later, and is there
    seen = {span.trace_id.hex() for span in traced.collector.spans}
    assert seen.isdisjoint({quiet, stranger})


def test_a_trace_that_is_not_valid_begins_anew_and_its_state_goes_no_further(
    traced: Traced, upstream: Upstream
) -> None:
    headers = [("traceparent", f"00-{'0' * 32}-{PARENT}-01"), ("tracestate", "vendor=1")]
    assert ask(traced, headers).status == 200
    sent = upstream.requests[-1].headers
    told = parent_of(sent["traceparent"].encode())
    assert told is not None
    assert told.span_id != PARENT
    assert "tracestate" not in sent


def test_an_upstream_that_gets_no_headers_gets_no_trace(traced: Traced, upstream: Upstream) -> None:
    _, headers = from_caller(400)
    assert ask(traced, headers, model="quiet").status == 200
    assert "traceparent" not in upstream.requests[-1].headers


def test_a_hit_has_no_upstream_call(traced: Traced) -> None:
    prompt = unseen()
    for number in (500, 501):
        trace, headers = from_caller(number)
        ask(traced, headers, prompt=prompt, temperature=0)
    [server] = traced.collector.trace(trace, 1)
    said = attributes(server)
    assert (said["headgate.cache"], said["headgate.cache.layer"]) == ("hit", "exact")


def test_nothing_that_was_said_and_no_secret_is_in_a_span(traced: Traced) -> None:
    trace, headers = from_caller(600)
    ask(traced, headers, prompt=PROMPT, stop=["never this"], user="a-person")
    traced.collector.trace(trace, 2)
    sent = b"".join(traced.collector.bodies).decode()
    private = [PROMPT, "never this", "a-person", TOKEN, PROVIDER_KEY, *KEYS.values()]
    assert not [text for text in private if text in sent]
    assert traced.collector.headers[0]["authorization"] == f"Bearer {TOKEN}"


def test_metrics_say_what_became_of_spans(traced: Traced) -> None:
    def exported() -> bool:
        page = traced.gateway.get("/metrics", None).body.decode()
        return 'headgate_spans_total{result="exported"}' in page

    eventually(exported)
