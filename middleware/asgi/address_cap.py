"""Has this caller too many requests running? For callers that a trusted proxy speaks for."""

from __future__ import annotations

from collections.abc import Callable

from app.connections.client_address import TrustedProxies
from app.core.asgi import ASGIApp, Receive, Scope, Send
from app.core.errors import Refused
from app.core.exchange import Exchange, exchange_of
from app.core.limits import retry_headers
from app.core.refusal import SOON, refuse


class AddressCap:
    """At most ``most`` requests at once for each address behind one of our ``proxies``.

    The connections are the proxy's own, so the requests are what can be counted. ``counts`` has the
    running ones by address, and outlives a change of configuration. ``recorded`` is told of each
    request that is refused.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        proxies: TrustedProxies,
        most: int,
        counts: dict[str, int],
        recorded: Callable[[Exchange], None] = lambda _: None,
    ) -> None:
        self._app = app
        self._recorded = recorded
        self._proxies = proxies
        self._most = most
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        forwarded = exchange.headers.get(b"x-forwarded-for")
        peer = scope["client"][0]
        if forwarded is None or not self._proxies.trusts(peer):
            await self._app(scope, receive, send)
            return
        counts, address = self._counts, self._proxies.client(peer, forwarded)
        running = counts.get(address, 0)
        if running >= self._most:
            try:
                await refuse(exchange, send, _too_many(self._most))
            finally:
                self._recorded(exchange)
            return
        counts[address] = running + 1
        try:
            await self._app(scope, receive, send)
        finally:
            counts[address] -= 1
            if not counts[address]:
                del counts[address]


def _too_many(most: int) -> Refused:
    return Refused(
        f"More than {most} requests from one address run already.",
        status=429,
        code="too_many_connections",
        headers=retry_headers(SOON),
    )
