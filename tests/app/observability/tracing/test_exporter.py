"""Spans on their way to a collector."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.observability.tracing import exporter as module
from app.observability.tracing.exporter import BATCH, MOST_WAITING, Exporter
from tests.harness.chain import in_loop
from tests.harness.collector import Collector
from tests.harness.gateway import free_port

RESOURCE = {"service.name": "headgate", "service.version": "1"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def span(number: int = 1) -> dict[str, Any]:
    return {
        "traceId": TRACE,
        "spanId": f"{number:016x}",
        "parentSpanId": "",
        "name": "n",
        "kind": 2,
    }


def run(url: str, body: Callable[[Exporter], Awaitable[Any]], **headers: str) -> Exporter:
    """An exporter at work, until ``body`` is done."""

    async def whole() -> Exporter:
        exporter = Exporter(url, headers, RESOURCE)
        working = asyncio.create_task(exporter.keep_exporting())
        try:
            await body(exporter)
        finally:
            working.cancel()
            await exporter.aclose()
        return exporter

    found: Exporter = in_loop(whole, 20)
    return found


async def counted(exporter: Exporter, result: str, count: int) -> None:
    async with asyncio.timeout(10):
        while exporter.counts[result] < count:  # noqa: ASYNC110 - polling, with a deadline
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(module, "EVERY_SECONDS", 0.05)


def test_spans_arrive_with_who_sent_them_and_the_headers_asked_for() -> None:
    with Collector() as collector:

        async def body(exporter: Exporter) -> None:
            exporter.add([span(1), span(2)])
            await counted(exporter, "exported", 2)

        run(collector.url, body, authorization="Bearer s")
        assert [one.span_id.hex() for one in collector.spans] == [f"{n:016x}" for n in (1, 2)]
        assert collector.resources[0] == RESOURCE
        assert collector.paths == ["/v1/traces"]
        assert collector.headers[0]["authorization"] == "Bearer s"
        assert collector.headers[0]["content-type"] == "application/json"


def test_a_collector_that_is_busy_is_asked_again_and_one_that_refuses_is_not() -> None:
    with Collector((503, 429, 200, 400)) as collector:

        async def body(exporter: Exporter) -> None:
            exporter.add([span(1)])
            await counted(exporter, "exported", 1)
            exporter.add([span(2)])
            await counted(exporter, "failed", 1)

        exporter = run(collector.url, body)
        assert exporter.counts == {"exported": 1, "dropped": 0, "failed": 1}
        assert len(collector.paths) == 4


def test_without_a_collector_spans_fail_and_nobody_waits() -> None:
    async def body(exporter: Exporter) -> None:
        exporter.add([span()])
        await counted(exporter, "failed", 1)

    assert run(f"http://127.0.0.1:{free_port()}/v1/traces", body).counts["failed"] == 1


def test_what_is_too_much_is_dropped_and_counted() -> None:
    with Collector() as collector:
        collector.open.clear()

        async def body(exporter: Exporter) -> None:
            exporter.add(span(number) for number in range(BATCH))
            await asyncio.sleep(0.2)  # the first batch is on its way, and is not answered
            exporter.add(span(number) for number in range(MOST_WAITING + 100))
            assert exporter.counts["dropped"] == 100
            collector.open.set()
            await counted(exporter, "exported", BATCH + MOST_WAITING)

        run(collector.url, body)


def test_what_is_left_at_the_end_is_sent() -> None:
    with Collector() as collector:

        async def body(exporter: Exporter) -> None:
            exporter.add([span()])

        assert run(collector.url, body).counts["exported"] == 1
        assert len(collector.spans) == 1
