"""Is this request of a browser that is signed in, and did our own page send it?"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from app.core.asgi import ASGIApp, Receive, Scope, Send
from app.core.errors import Forbidden, GatewayError, Unauthenticated
from app.core.exchange import Exchange, exchange_of
from app.core.keys import presented_secret
from app.core.refusal import refuse, store_unavailable
from app.routes.dashboard.sessions import Session, Sessions, same
from cache.store.base import StoreUnavailable

COOKIE = "__Host-headgate"
TOKEN_HEADER = b"x-headgate-token"
SAFE = frozenset({"GET", "HEAD"})
MAX_COOKIE = 4096


class SessionGuard:
    """Finds the session of a request by its cookie; what changes something needs more than that.

    A browser sends cookies with whatever another site makes it ask for. So a write must also carry
    the session's token in a header, and come from our own origin.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def session(self, exchange: Exchange, method: str) -> Session:
        """Raises Unauthenticated, Forbidden and Unavailable."""
        secret = cookie_in(exchange.headers)
        try:
            session = await self._sessions.find(secret) if secret else None
        except StoreUnavailable:
            raise store_unavailable("sessions") from None
        if session is None:
            raise Unauthenticated("Sign in to the dashboard.", code="not_signed_in")
        if method not in SAFE:
            check_origin(exchange.headers)
            token = exchange.headers.get(TOKEN_HEADER, b"").decode("latin-1")
            if not same(token, session.token):
                raise Forbidden(
                    "The session's token is missing; load the page again.", code="token_required"
                )
        return session


class SignedIn:
    """Lets a request of a signed-in browser into the admin API as the operator it is."""

    def __init__(self, app: ASGIApp, guard: SessionGuard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        if not presented_secret(exchange.headers) and cookie_in(exchange.headers):
            try:
                session = await self._guard.session(exchange, scope["method"])
            except GatewayError as error:
                await refuse(exchange, send, error)
                return
            scope["state"]["operator"] = session.who
            if scope["method"] in SAFE:
                send = quietly(exchange, send)
        await self._app(scope, receive, send)


def quietly(exchange: Exchange, send: Send) -> Send:
    """What keeps a good answer out of the log: a page that is open asks all day."""

    async def sending(message: Scope) -> None:
        if message["type"] == "http.response.start" and message["status"] < 400:
            exchange.outcome.unlogged = True
        await send(message)

    return sending


def check_origin(headers: Mapping[bytes, bytes]) -> None:
    """Raises Forbidden where another site's page sent this."""
    origin = headers.get(b"origin", b"").decode("latin-1")
    host = headers.get(b"host", b"").decode("latin-1")
    site = headers.get(b"sec-fetch-site", b"same-origin")
    if not origin or urlsplit(origin).netloc != host or site != b"same-origin":
        raise Forbidden(
            "Another site's page sent this; only the dashboard's own page may.", code="other_origin"
        )


def cookie_in(headers: Mapping[bytes, bytes]) -> str:
    """What our cookie holds; empty where it was not sent."""
    text = headers.get(b"cookie", b"")[:MAX_COOKIE].decode("latin-1")
    for pair in text.split(";"):
        name, _, value = pair.strip().partition("=")
        if name == COOKIE:
            return value
    return ""
