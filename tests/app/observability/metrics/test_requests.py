"""What requests came to, by labels that no caller can choose."""

from __future__ import annotations

from random import Random
from timeit import repeat
from typing import Any

import pytest

from app.config.loading import load
from app.core.exchange import Exchange
from app.core.keys import Key
from app.core.units import NanoDollars
from app.core.usage import Usage
from app.observability.metrics.labels import MOST_KEYS, Labels
from app.observability.metrics.requests import MOST_PLACES, RequestMetrics
from app.observability.metrics.snapshot import Snapshot, text
from app.supervision.frames import MAX_FRAME_BYTES, frame
from tests.harness.metrics import Series, parsed

ALIASES = ("house", "second")
FILE = """
server: {management: {port: 9090}}
providers:
  up: {kind: openai, base_url: "https://api.example.net/v1"}
models:
  house: {targets: [{provider: up, model: m-1}]}
  second: {targets: [{provider: up, model: m-2}]}
"""
PATH = "/v1/completions"


def labels_of(file: str = FILE) -> Labels:
    return Labels(load(file, "test").settings, ["rate_limit_exceeded"])


def key_of(number: int = 0, tenant: str = "acme") -> Key:
    models = frozenset(ALIASES)
    return Key(f"key-{number}", tenant, (), frozenset({"completions"}), models, None)


def exchange_of(**facts: Any) -> Exchange:
    """A request that an upstream answered as a stream, changed by ``facts``."""
    exchange = Exchange("id-1", {}, 0.0)
    exchange.key = key_of()
    outcome = exchange.outcome
    outcome.operation, outcome.alias, outcome.status = "completions", "house", 200
    outcome.provider, outcome.model, outcome.attempts = "up", "m-1", 1
    outcome.first_byte, outcome.upstream_time, outcome.streamed = 0.3, 0.9, True
    outcome.usage, outcome.cost = Usage(100, 8), NanoDollars(5_000)
    for name, value in facts.items():
        setattr(exchange if name == "key" else outcome, name, value)
    return exchange


def series_of(metrics: RequestMetrics) -> Series:
    return parsed(page_of(metrics))


def page_of(metrics: RequestMetrics) -> str:
    into: Snapshot = {}
    metrics.write(into)
    return text(into)


def recorded(*exchanges: Exchange, file: str = FILE, total: float = 1.0) -> Series:
    metrics = RequestMetrics()
    route = metrics.route(labels_of(file), PATH, models=True)
    for exchange in exchanges:
        route(exchange, exchange.outcome.alias_for(exchange.key), total)
    return series_of(metrics)


def total_of(series: Series, name: str, **labels: str) -> float:
    wanted = set(labels.items())
    return sum(value for (n, has), value in series.items() if n == name and wanted <= has)


def test_one_request_is_counted_and_timed_under_the_conventions_names() -> None:
    series = recorded(exchange_of())
    said = {
        "gen_ai_operation_name": "text_completion",
        "gen_ai_provider_name": "openai",
        "gen_ai_request_model": "house",
        "gen_ai_response_model": "m-1",
        "headgate_provider": "up",
    }
    asked = {"server_address": "api.example.net", "server_port": "443"}
    assert series["gen_ai_server_request_duration_seconds_sum", frozenset(said.items())] == 1
    assert series["gen_ai_server_time_to_first_token_seconds_sum", frozenset(said.items())] == 0.3
    each = series["gen_ai_server_time_per_output_token_seconds_sum", frozenset(said.items())]
    assert each == pytest.approx(0.7 / 7)
    waited = frozenset((said | asked).items())
    assert series["gen_ai_client_operation_duration_seconds_sum", waited] == 0.9
    for kind, tokens in (("input", 100), ("output", 8)):
        typed = frozenset((said | asked | {"gen_ai_token_type": kind}).items())
        assert series["gen_ai_client_token_usage_sum", typed] == tokens
    whole = frozenset({("route", PATH), ("model", "house"), ("status", "200")})
    assert series["headgate_requests_total", whole] == 1
    assert series["headgate_overhead_seconds_sum", frozenset({("route", PATH)})] == (
        pytest.approx(0.1)
    )


def test_money_and_tokens_are_counted_by_tenant_key_and_alias() -> None:
    guessed = exchange_of(usage=Usage(10, 20, estimated=True), saved=NanoDollars(7), attempts=0)
    series = recorded(exchange_of(), guessed)
    whose = {"tenant": "acme", "key": "key-0", "model": "house"}
    assert total_of(series, "headgate_cost_usd_total", **whose) == pytest.approx(1e-5)
    assert total_of(series, "headgate_saved_usd_total", **whose) == pytest.approx(7e-9)
    tokens = "headgate_tokens_total"
    assert total_of(series, tokens, type="input", estimated="false", **whose) == 100
    assert total_of(series, tokens, type="output", estimated="true", **whose) == 20


def test_what_the_cache_answered_is_no_call_of_an_upstream() -> None:
    hit = exchange_of(attempts=0, upstream_time=0.0, cache="hit", cache_layer="exact", usage=None)
    series = recorded(hit)
    assert total_of(series, "headgate_cache_total", result="hit", layer="exact") == 1
    assert total_of(series, "gen_ai_server_request_duration_seconds_count") == 1
    for upstream in ("gen_ai_client_operation_duration_seconds", "gen_ai_client_token_usage"):
        assert total_of(series, f"{upstream}_count") == 0
    assert total_of(series, "gen_ai_server_time_to_first_token_seconds_count") == 0


def test_a_refusal_by_a_limit_is_told_from_an_upstreams() -> None:
    ours = exchange_of(
        status=429, error_code="rate_limit_exceeded", provider=None, attempts=0, usage=None
    )
    theirs = exchange_of(status=429, error_code="rate_limit_exceeded", usage=None)
    series = recorded(ours, theirs)
    assert total_of(series, "headgate_limit_refusals_total", reason="rate_limit_exceeded") == 1
    assert total_of(series, "headgate_requests_total", code="rate_limit_exceeded") == 2


def test_junk_of_callers_and_upstreams_leaves_the_page_as_it_is() -> None:
    metrics = RequestMetrics()
    route = metrics.route(labels_of(), PATH, models=True)

    def ask(junk: str) -> None:
        refused = {"attempts": 0, "provider": None, "model": None, "usage": None, "cost": None}
        route(exchange_of(alias=junk, status=404, **refused), None, 0.001)
        route(exchange_of(model=junk, error_code=junk, status=400), "house", 0.001)

    ask("first")
    before = page_of(metrics)
    for number in range(10_000):
        ask(f"junk-{number}")
    after = page_of(metrics)
    assert [line.rpartition(" ")[0] for line in after.splitlines()] == [
        line.rpartition(" ")[0] for line in before.splitlines()
    ]
    assert "junk" not in after
    assert total_of(parsed(after), "headgate_requests_total", model="other") == 10_001
    assert total_of(parsed(after), "headgate_metric_folded_total") == 0


def test_too_many_labels_are_folded_and_counted_and_still_fit_one_message() -> None:
    aliases = [f"alias-{number}-{'x' * 40}" for number in range(MOST_PLACES + 100)]
    metrics = RequestMetrics()
    route = metrics.route(labels_of(), PATH, models=True)
    for alias in aliases:
        route(exchange_of(alias=alias), alias, 1.0)
    into: Snapshot = {}
    metrics.write(into)
    assert len(frame({"metrics": into})) < MAX_FRAME_BYTES
    series = parsed(text(into))
    assert total_of(series, "headgate_requests_total") == len(aliases)
    assert total_of(series, "headgate_requests_total", model="other") == 100
    assert total_of(series, "headgate_metric_folded_total") >= 100


def test_keys_are_told_apart_only_while_they_are_few() -> None:
    metrics = RequestMetrics()
    route = metrics.route(labels_of(), PATH, models=True)
    for number in range(MOST_KEYS + 5):
        route(exchange_of(key=key_of(number)), "house", 1.0)
    series = series_of(metrics)
    keys = {value for _, has in series for name, value in has if name == "key"}
    assert len(keys) == MOST_KEYS + 1
    assert total_of(series, "headgate_cost_usd_total", key="other") == pytest.approx(5 * 5e-6)
    assert total_of(series, "headgate_metric_folded_total") == 5


def test_the_port_of_callers_tells_neither_tenants_nor_addresses() -> None:
    open_to_all = FILE.replace("server: {management: {port: 9090}}", "")
    series = recorded(exchange_of(), file=open_to_all)
    names = {name for _, has in series for name, _ in has}
    assert names.isdisjoint({"tenant", "key", "server_address", "server_port"})
    assert total_of(series, "headgate_cost_usd_total", model="house") == pytest.approx(5e-6)


def slowness() -> float:
    """How much slower this machine is than one for which three microseconds are asked."""
    work = min(repeat("sum(range(1000))", number=100, repeat=10)) / 100
    return max(1.0, work / 12e-6)


@pytest.mark.alone
def test_a_request_costs_less_than_three_microseconds() -> None:
    metrics = RequestMetrics()
    route = metrics.route(labels_of(), PATH, models=True)
    chance = Random(1)
    exchanges = [
        exchange_of(
            alias=chance.choice(ALIASES),
            key=key_of(chance.randrange(20)),
            upstream_time=chance.random(),
            usage=Usage(chance.randrange(5_000), chance.randrange(1, 900)),
        )
        for _ in range(1_000)
    ]

    def ask() -> None:
        for exchange in exchanges:
            route(exchange, exchange.outcome.alias, 1.0)

    ask()
    best = min(repeat(ask, number=1, repeat=300)) / len(exchanges)
    print(f"{best * 1e6:.2f} us a request")
    assert best < 3e-6 * slowness()
