"""Who is calling? Before the body is read: strangers never make us read a megabyte."""

from __future__ import annotations

from time import time

from app.core.asgi import ASGIApp, Receive, Scope, Send
from app.core.errors import Forbidden, GatewayError, Refused, Unauthenticated
from app.core.exchange import Exchange, exchange_of
from app.core.keys import KeyRing
from app.core.refusal import refuse

MAX_SECRET_BYTES = 512


class Auth:
    """Finds the key of a request; with a ``capability``, only keys that have it pass."""

    def __init__(self, app: ASGIApp, *, keys: KeyRing, capability: str | None) -> None:
        self._app = app
        self._keys = keys
        self._capability = capability

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        error = self._admit(exchange)
        if error is None:
            await self._app(scope, receive, send)
            return
        await refuse(exchange, send, error)

    def _admit(self, exchange: Exchange) -> GatewayError | None:
        secrets = presented_secrets(exchange.headers)
        if len(secrets) > 1:
            return Refused("Two different API keys were sent; send one, in one header.")
        secret = next(iter(secrets), b"")
        if not secret:
            return Unauthenticated(
                "No API key was sent; send it as `Authorization: Bearer KEY`.",
                code="missing_api_key",
            )
        key = self._keys.find(secret) if len(secret) <= MAX_SECRET_BYTES else None
        if key is None:
            return Unauthenticated("The API key is not valid here.", code="invalid_api_key")
        exchange.key = key
        if key.expires is not None and key.expires <= time():
            return Unauthenticated("The API key has expired.", code="expired_api_key")
        if self._capability is not None and self._capability not in key.capabilities:
            return Forbidden(f"This API key lacks the capability {self._capability!r}.")
        return None


def presented_secrets(headers: dict[bytes, bytes]) -> set[bytes]:
    """Every different secret in a request's headers.

    One key in several headers is one: some clients send it twice. A scheme other than Bearer is
    for somebody in front of us.
    """
    scheme, _, secret = headers.get(b"authorization", b"").partition(b" ")
    found = {secret.strip()} if scheme.lower() == b"bearer" else set()
    for name in (b"x-api-key", b"api-key"):
        if name in headers:
            found.add(headers[name].strip())
    found.discard(b"")
    return found
