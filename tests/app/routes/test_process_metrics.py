"""GET /metrics: what this replica measured."""

from __future__ import annotations

from time import time

from app.observability.metrics.families import LAG
from app.observability.metrics.histogram import Histogram
from app.observability.metrics.requests import RequestMetrics
from app.providers.routing.retry import Failure, Kind
from app.providers.routing.shared_health import SharedHealth
from app.routes.process_metrics import ProcessMetrics, process_metrics_app
from cache.quotas.counters import Counters
from tests.app.routes.asking import ask
from tests.harness.chain import FailingStore, in_loop
from tests.harness.metrics import Series, parsed


def page() -> Series:
    async def body() -> Series:
        store = FailingStore()
        health = SharedHealth(store, time, Counters(store))
        health.of("p/well").answered = 3
        down = health.of("p/down")
        down.failures["credentials"] = 2
        health.failed(down, Failure(Kind.CREDENTIALS, 401))
        store.breaker.failed("slow", at_once=True)
        store.trips.observe(0.0003)
        late = Histogram(LAG)
        late.observe(0.004)
        process = ProcessMetrics(RequestMetrics(), health, {"main": store}, late)
        answered = await ask(process_metrics_app(lambda: process.snapshot("g-1", 7)))
        assert answered.headers[b"content-type"].startswith(b"text/plain; version=0.0.4")
        return parsed(answered.body.decode())

    found: Series = in_loop(body)
    return found


def test_a_worker_tells_how_it_its_store_and_its_targets_are() -> None:
    series = page()

    def of(name: str, **labels: str) -> float:
        return series[name, frozenset(labels.items())]

    assert of("headgate_requests_in_flight") == 7
    assert of("headgate_config_info", generation="g-1") == 1
    assert of("headgate_store_breaker", store="main") == 1
    assert of("headgate_store_breaker_openings_total", store="main") == 1
    assert of("headgate_store_seconds_bucket", store="main", le="0.0005") == 1
    assert of("headgate_loop_lag_seconds_bucket", le="0.005") == 1
    assert of("headgate_log_dropped_total") == 0
    assert of("headgate_upstream_requests_total", target="p/well", result="ok") == 3
    assert of("headgate_upstream_requests_total", target="p/down", result="credentials") == 2
    assert of("headgate_upstream_state", target="p/down", state="open") == 1
    assert of("headgate_upstream_state", target="p/down", state="closed") == 0
    assert of("headgate_upstream_state", target="p/well", state="closed") == 1
