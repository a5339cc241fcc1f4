"""Callers that guess keys: slowed by address, and their log lines sampled."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from time import monotonic

import structlog

from app.connections.client_address import TrustedProxies
from app.core.errors import GatewayError, Refused
from app.core.exchange import Exchange
from app.core.limits import retry_headers
from app.core.refusal import SOON

WINDOW_SECONDS = 60.0
STEP_SECONDS, LONGEST_SECONDS = 0.05, 1.0
MAX_ADDRESSES = 10_000
MAX_DELAYED = 256  # at once; more are refused without delay, because a delay costs us too
MAX_LINES = 20


class _Failures:
    __slots__ = ("began", "count", "unlogged")

    def __init__(self, began: float) -> None:
        self.began = began
        self.count = 0
        self.unlogged = 0


class BadKeys:
    """Counts failed authentications by address; the most recent addresses are known.

    After ``free`` of them in a window, each further answer waits longer, up to a second. A good key
    from the same address is never looked at here.
    """

    def __init__(self, proxies: TrustedProxies, free: int, window: float = WINDOW_SECONDS) -> None:
        self._proxies = proxies
        self._free = free
        self._window = window
        self._addresses: OrderedDict[str, _Failures] = OrderedDict()
        self._delayed = 0
        self._timer: asyncio.TimerHandle | None = None

    async def slow(self, exchange: Exchange, peer: str) -> GatewayError | None:
        """Wait as long as this caller must; an error where it is answered with that instead."""
        address = self._proxies.client(peer, exchange.headers.get(b"x-forwarded-for"))
        failures = self._note(address)
        over = failures.count - self._free
        if over <= 0:
            return None
        exchange.outcome.unlogged = True
        failures.unlogged += 1
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._window, self._tell)
        if self._delayed >= MAX_DELAYED:
            return Refused(
                "Too many requests came without a valid API key.",
                status=429,
                code="too_many_bad_keys",
                headers=retry_headers(SOON),
            )
        self._delayed += 1
        try:
            await asyncio.sleep(min(LONGEST_SECONDS, STEP_SECONDS * over))
        finally:
            self._delayed -= 1
        return None

    def _note(self, address: str) -> _Failures:
        now = monotonic()
        failures = self._addresses.get(address)
        if failures is None:
            if len(self._addresses) >= MAX_ADDRESSES:
                self._addresses.popitem(last=False)
            failures = self._addresses[address] = _Failures(now)
        elif now - failures.began > self._window:
            failures.began, failures.count = now, 0
        self._addresses.move_to_end(address)
        failures.count += 1
        return failures

    def _tell(self) -> None:
        """Log how many were not logged one by one."""
        self._timer = None
        log = structlog.get_logger("headgate")
        silent = [(f.unlogged, address) for address, f in self._addresses.items() if f.unlogged]
        silent.sort(reverse=True)
        for count, address in silent[:MAX_LINES]:
            log.warning("bad_keys", address=address, count=count)
        if rest := silent[MAX_LINES:]:
            log.warning("bad_keys", addresses=len(rest), count=sum(count for count, _ in rest))
        for _, address in silent:
            self._addresses[address].unlogged = 0
