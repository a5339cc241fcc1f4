"""GET /metrics: what this replica measured, as Prometheus text: scrape every replica.

What replicas count together is another page (``app/routes/metrics.py``), because a sum over replicas
would count it as often as there are replicas.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from app.core.asgi import Receive, Scope, Send, body_message, start_message
from app.observability.logs import dropped_lines
from app.observability.metrics import families
from app.observability.metrics.histogram import Histogram
from app.observability.metrics.requests import RequestMetrics
from app.observability.metrics.snapshot import Snapshot, add, labels_text, text
from app.providers.routing.breaker import Phase
from app.providers.routing.shared_health import SharedHealth
from app.routes.metrics import TEXT_TYPE
from cache.store.base import Store


class ProcessMetrics:
    """Everything that one worker measures. ``stores`` are by name, ``late`` is its loop's lag,
    ``spans`` how many came to what."""

    def __init__(
        self,
        requests: RequestMetrics,
        targets: SharedHealth,
        stores: Mapping[str, Store],
        late: Histogram,
        spans: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self._spans = spans
        self.requests = requests
        self._targets = targets
        self._stores = stores
        self._late = late

    def snapshot(self, generation: str, running: int) -> Snapshot:
        """What there is to tell now; ``running`` are requests."""
        into: Snapshot = {}
        self.requests.write(into)
        add(into, families.IN_FLIGHT, "", [running])
        add(into, families.LOOP_LAG, "", self._late.row())
        add(into, families.LOG_DROPPED, "", [dropped_lines()])
        add(into, families.CONFIG, labels_text({"generation": generation}), [1])
        for name, store in self._stores.items():
            said = labels_text({"store": name})
            add(into, families.STORE_SECONDS, said, store.trips.row())
            add(into, families.STORE_BREAKER, said, [int(store.breaker.open)])
            add(into, families.STORE_OPENINGS, said, [store.breaker.opened])
        for result, count in self._spans.items():
            add(into, families.SPANS, labels_text({"result": result}), [count])
        self._write_targets(into)
        return into

    def _write_targets(self, into: Snapshot) -> None:
        for name, now in self._targets.phases().items():
            for phase in Phase:
                said = labels_text({"target": name, "state": phase.value})
                add(into, families.UPSTREAM_STATE, said, [int(phase.value == now)])
        for name, calls in self._targets.calls().items():
            for result, count in calls.items():
                said = labels_text({"target": name, "result": result})
                add(into, families.UPSTREAM_REQUESTS, said, [count])


def process_metrics_app(
    snapshot: Callable[[], Snapshot],
) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """This worker's page."""

    async def metrics(scope: Scope, receive: Receive, send: Send) -> None:
        body = text(snapshot()).encode()
        await send(start_message(200, [TEXT_TYPE, (b"content-length", b"%d" % len(body))]))
        await send(body_message(body))

    return metrics
