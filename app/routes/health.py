"""GET /health, /health/live and /health/ready: what a load balancer asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import orjson

from app.concurrency.breaker import Breaker
from app.concurrency.loop_lag import LoopLag, milliseconds
from app.core.asgi import Receive, Scope, Send, json_messages
from app.core.errors import HeaderList

App = Callable[[Scope, Receive, Send], Awaitable[None]]


class TargetStates(Protocol):
    """Knows how the upstream targets are, by name."""

    def unwell(self) -> Mapping[str, str]:
        """The state of each that is not closed."""
        ...

    def levels(self) -> Mapping[str, Mapping[str, int]]:
        """What each with a capacity had left when this worker asked last."""
        ...


class Readiness:
    """Whether this worker should be sent requests; shared by every generation in it."""

    def __init__(self) -> None:
        self.draining = False
        # On every answer from now on, so that balancers' idle connections end before we do.
        self.closing: HeaderList = []
        self.warnings: list[str] = []  # what is set up badly and does not keep requests away
        self._breaker: Breaker | None = None
        self._of_cache: Breaker | None = None
        self._lag: LoopLag | None = None
        self._targets: TargetStates | None = None

    def watch(self, breaker: Breaker, lag: LoopLag, of_cache: Breaker | None = None) -> None:
        """Report this store's outages, this loop's lag, and outages of the cache's own store."""
        self._breaker = breaker
        self._lag = lag
        self._of_cache = of_cache

    def watch_targets(self, targets: TargetStates) -> None:
        """Show the targets that are not well, and what capacity is left."""
        self._targets = targets

    def targets(self) -> dict[str, object]:
        """What of the targets is worth knowing; none of it keeps requests away."""
        if self._targets is None:
            return {}
        found = {"targets": self._targets.unwell(), "capacity": self._targets.levels()}
        return {name: facts for name, facts in found.items() if facts}

    def drain(self) -> None:
        """Say to load balancers that no more requests are welcome here."""
        if not self.draining:
            self.draining = True
            self.closing.append((b"connection", b"close"))

    def problem(self, store_optional: bool) -> str | None:
        """Why not, or None."""
        if self.draining:
            return "shutting_down"
        if not store_optional and self.store() != "ok":
            return "store_unavailable"
        return None

    def store(self) -> str:
        """``ok``, or why the store is not being asked."""
        return _state(self._breaker)

    def cache_store(self) -> str | None:
        """The same of the cache's own store; None where there is none."""
        return None if self._of_cache is None else _state(self._of_cache)

    def details(self, troubles: Mapping[str, str]) -> dict[str, object]:
        """What is wrong with what is behind us, in sentences with addresses: for operators.

        ``troubles`` are those of upstreams, by provider.
        """
        found: dict[str, object] = {}
        stores = {"store_detail": self._breaker, "cache_store_detail": self._of_cache}
        for name, breaker in stores.items():
            if breaker is not None and breaker.open and breaker.detail:
                found[name] = breaker.detail
        return found | ({"upstreams": dict(troubles)} if troubles else {})

    def loop_lag_ms(self) -> int:
        """The worst of the last ten seconds."""
        return milliseconds(self._lag.worst) if self._lag else 0


def _state(breaker: Breaker | None) -> str:
    return (breaker.reason or "unavailable") if breaker and breaker.open else "ok"


def live_app(generation: str) -> App:
    """200 while the process runs."""
    body = orjson.dumps({"status": "live", "generation": generation})

    async def live(scope: Scope, receive: Receive, send: Send) -> None:
        start, message = json_messages(200, body)
        await send(start)
        await send(message)

    return live


def ready_app(
    generation: str,
    readiness: Readiness,
    store_optional: bool,
    troubles: Callable[[], Mapping[str, str]] | None = None,
) -> App:
    """200 while requests are welcome, else 503 with the reason.

    With the ``troubles`` of upstreams it names addresses: leave them out where operators have a
    listener of their own.
    """

    async def ready(scope: Scope, receive: Receive, send: Send) -> None:
        problem = readiness.problem(store_optional)
        facts: dict[str, object] = {
            "status": "not_ready" if problem else "ready",
            "generation": generation,
            "store": readiness.store(),
            "loop_lag_ms": readiness.loop_lag_ms(),
        }
        cache_store = readiness.cache_store()
        if cache_store is not None:
            facts["cache_store"] = cache_store  # told, and no reason to send requests elsewhere
        if readiness.warnings:
            facts["warnings"] = readiness.warnings
        facts |= readiness.targets()
        if troubles is not None:
            facts |= readiness.details(troubles())
        if problem:
            facts["reason"] = problem
        start, message = json_messages(503 if problem else 200, orjson.dumps(facts))
        await send(start)
        await send(message)

    return ready
