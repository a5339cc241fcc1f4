"""What records the requests of each route of one configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from app.observability.logs import probe_log, request_log
from app.observability.metrics.labels import Labels
from app.observability.metrics.requests import BACKGROUND, RequestMetrics
from app.observability.request_record import ActivitySink, AuditSink, Recorder, UsageSink

if TYPE_CHECKING:
    from app.observability.tracing.tracer import Tracer


class Recorders:
    """Makes recorders that share the log, the clock and the measurements of a worker."""

    def __init__(
        self,
        *,
        metrics: RequestMetrics,
        labels: Labels,
        now: Callable[[], float],
        client_of: Callable[[str, bytes | None], str],
        log_prompts: bool,
        audit: AuditSink | None = None,
        activity: ActivitySink | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self._audit = audit
        self._activity = activity
        self._metrics = metrics
        self._labels = labels
        self._now = now
        self._client_of = client_of
        self._log_prompts = log_prompts
        self._log = request_log()

    def of_route(self, path: str, usage: UsageSink | None = None) -> Recorder:
        """For a route that asks no model."""
        return self._made(path, usage, models=False)

    def of_models(self, path: str, usage: UsageSink) -> Recorder:
        """For a route that asks models."""
        return self._made(path, usage, models=True)

    def of_background(self, usage: UsageSink) -> Recorder:
        """For calls that the gateway makes for itself."""
        return self._made(BACKGROUND, usage, models=True)

    def of_nowhere(self) -> Recorder:
        """For paths that lead nowhere, and for what is refused before its path is looked at."""
        metrics = self._metrics.route(self._labels, "unknown")
        return Recorder(log=self._log, now=self._now, metrics=metrics, client_of=self._client_of)

    def of_probes(self, path: str) -> Recorder:
        """For health checks and scrapes: answered well, they are logged at debug only."""
        metrics = self._metrics.route(self._labels, path)
        return Recorder(log=probe_log(), now=self._now, metrics=metrics, client_of=self._client_of)

    def _made(self, route: str, usage: UsageSink | None, *, models: bool) -> Recorder:
        return Recorder(
            log=self._log,
            log_prompts=self._log_prompts,
            usage=usage,
            audit=self._audit,
            # A caller's request is counted as used, whatever became of it.
            activity=self._activity if usage is not None else None,
            now=self._now,
            metrics=self._metrics.route(self._labels, route, models=models),
            client_of=self._client_of,
            traces=self._tracer.route(route, self._labels) if self._tracer is not None else None,
        )
