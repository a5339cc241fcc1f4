"""Says in the log when the store goes and comes back, and why."""

from __future__ import annotations

import structlog

from app.concurrency.breaker import Breaker
from app.concurrency.loop_lag import LoopLag, milliseconds


class OutageLog:
    """Looks at a breaker again and again. Each reason is said once an outage.

    ``name`` is what the store's events begin with.
    """

    def __init__(self, breaker: Breaker, lag: LoopLag, name: str = "store") -> None:
        self._breaker = breaker
        self._gone, self._still_gone, self._back = (
            f"{name}_out",
            f"{name}_still_out",
            f"{name}_back",
        )
        self._lag = lag
        self._opened = 0
        self._out = False
        self._told: set[str] = set()

    def look(self) -> None:
        """Log what has changed since the last look."""
        breaker, log = self._breaker, structlog.get_logger("headgate")
        if breaker.opened != self._opened:
            self._opened = breaker.opened
            self._out = True
            reason, detail = breaker.latest
            if breaker.open:
                reason, detail = breaker.reason or reason, breaker.detail
            self._told = {reason}
            # A loop that is late itself finds everybody slow: then the store need not be to blame.
            lag = milliseconds(self._lag.worst)
            log.warning(self._gone, reason=reason, detail=detail or None, loop_lag_ms=lag)
        reason, detail = breaker.latest
        if breaker.open and reason not in self._told:
            self._told.add(reason)
            log.warning(self._still_gone, reason=reason, detail=detail or None)
        if self._out and not breaker.open:
            self._out = False
            log.warning(self._back)
