"""Which requests are traced, and what becomes of their spans."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from importlib.metadata import version
from os import getpid
from random import random
from time import perf_counter, time_ns
from typing import Any

from app.config.sections.tracing import Tracing
from app.core.exchange import Exchange
from app.observability.metrics.labels import Labels
from app.observability.tracing.context import HEADER, parent_of
from app.observability.tracing.exporter import Exporter
from app.observability.tracing.spans import Moment, spans_of
from app.observability.tracing.trace import Trace


class Tracer:
    """Traces every request, and exports those that were sampled at their head, and all that failed.

    A request whose caller has decided is sampled as it says. Refusals of strangers are no failures:
    who has no key must not fill the collector.
    """

    def __init__(self, settings: Tracing) -> None:
        self._sample = settings.sample
        host = socket.gethostname()
        resource = {
            "service.name": settings.service_name,
            "service.version": version("headgate"),
            "service.instance.id": f"{host}:{getpid()}",
            "host.name": host,
        }
        headers = {name.lower(): value.reveal() for name, value in settings.headers.items()}
        self.exporter = Exporter(settings.endpoint, headers, resource)

    def begin(self, headers: Mapping[bytes, bytes]) -> Trace:
        """The trace of a request that has just come in."""
        parent = parent_of(headers.get(HEADER))
        if parent is not None:
            return Trace(parent, sampled=parent.sampled)
        return Trace(None, sampled=random() < self._sample)  # noqa: S311 - no secret

    def route(self, path: str, labels: Labels) -> RouteTraces:
        """What traces the requests of one route."""
        return RouteTraces(self, path, labels)


class RouteTraces:
    """Traces the requests of one route of a configuration."""

    def __init__(self, tracer: Tracer, route: str, labels: Labels) -> None:
        self.begin = tracer.begin
        self._exporter = tracer.exporter
        self._route = route
        self._labels = labels

    def end(self, exchange: Exchange, facts: Mapping[str, Any]) -> None:
        """The request is over. ``facts`` are the log line's."""
        trace: Trace = exchange.outcome.trace
        failed = facts["status"] >= 500 or trace.failed
        if not trace.sampled and not failed and not (facts["key"] and facts["error"]):
            return
        now = Moment(time_ns(), perf_counter())
        self._exporter.add(spans_of(exchange, trace, self._route, facts, self._labels, now))
