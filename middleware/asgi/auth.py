"""Who is calling? Before the body is read: strangers never make us read a megabyte."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import time
from typing import Protocol

from app.connections.bad_keys import BadKeys
from app.core.asgi import ASGIApp, Receive, Scope, Send
from app.core.errors import Forbidden, GatewayError, Unauthenticated
from app.core.exchange import Exchange, exchange_of
from app.core.keys import Key, presented_secret
from app.core.refusal import refuse

MAX_SECRET_BYTES = 512
INVALID = Unauthenticated("The API key is not valid here.", code="invalid_api_key")


class Keys(Protocol):
    """Finds the key that a secret opens, at once."""

    def find(self, secret: bytes) -> Key | None: ...


class Auth:
    """Finds the key of a request; with a ``capability``, only keys that have it pass.

    ``now`` gives unix seconds, by which keys expire. ``bad_keys`` slows callers down who fail again
    and again. A secret that none of ``keys`` has is asked of ``unknown``, where there may be more.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Keys,
        capability: str | None,
        bad_keys: BadKeys,
        now: Callable[[], float] = time,
        unknown: Callable[[bytes], Awaitable[Key | GatewayError]] | None = None,
    ) -> None:
        self._app = app
        self._now = now
        self._keys = keys
        self._capability = capability
        self._bad_keys = bad_keys
        self._unknown = unknown

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange = exchange_of(scope)
        found = self._find(exchange)
        if isinstance(found, Key):
            scope["state"]["key"] = found
            return self._app(scope, receive, send)
        if found is INVALID and self._unknown is not None:
            return self._look_further(exchange, self._unknown, scope, receive, send)
        return self._refuse(exchange, found, scope, send)

    async def _refuse(
        self, exchange: Exchange, found: GatewayError, scope: Scope, send: Send
    ) -> None:
        if isinstance(found, Unauthenticated):
            found = await self._bad_keys.slow(exchange, scope["client"][0]) or found
        await refuse(exchange, send, found)

    def _find(self, exchange: Exchange) -> Key | GatewayError:
        secret = presented_secret(exchange.headers)
        if not secret:
            return Unauthenticated(
                "No API key was sent; send it as `Authorization: Bearer KEY`.",
                code="missing_api_key",
            )
        key = self._keys.find(secret) if len(secret) <= MAX_SECRET_BYTES else None
        return INVALID if key is None else self._checked(exchange, key)

    async def _look_further(
        self,
        exchange: Exchange,
        unknown: Callable[[bytes], Awaitable[Key | GatewayError]],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        secret = presented_secret(exchange.headers)
        found: Key | GatewayError = INVALID
        if len(secret) <= MAX_SECRET_BYTES:
            found = await unknown(secret)
        if isinstance(found, Key):
            found = self._checked(exchange, found)
        if isinstance(found, Key):
            scope["state"]["key"] = found
            await self._app(scope, receive, send)
        else:
            await self._refuse(exchange, found, scope, send)

    def _checked(self, exchange: Exchange, key: Key) -> Key | GatewayError:
        exchange.key = key
        if key.expires is not None and key.expires <= self._now():
            return Unauthenticated("The API key has expired.", code="expired_api_key")
        if self._capability is not None and self._capability not in key.capabilities:
            return Forbidden(
                f"This API key lacks the capability {self._capability!r}; it has "
                f"{', '.join(sorted(key.capabilities)) or 'none'}. Its `capabilities` in the "
                "configuration of the gateway decide."
            )
        return key
