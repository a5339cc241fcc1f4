"""Everything under /dashboard: the page, the session, and the playground's calls."""

from __future__ import annotations

from collections.abc import Callable

from app.core.asgi import ASGIApp, Receive, Scope, Send
from app.core.errors import GatewayError, NotFound, Refused
from app.core.exchange import exchange_of
from app.core.refusal import refuse
from app.routes.dashboard.guard import TOKEN_HEADER, SessionGuard
from app.routes.dashboard.pages import Pages
from app.routes.dashboard.sign_in import SignInApp

PATH, BELOW = "/dashboard", "/dashboard/"
SESSION = "session"
# What the playground may ask of the callers' part, by method.
CALLS = {
    "/v1/completions": "POST",
    "/v1/chat/completions": "POST",
    "/v1/models": "GET",
}
_OF_THE_SESSION = (b"cookie", TOKEN_HEADER)


class Dashboard:
    """One application for all of it; ``metered`` has a request recorded, ``callers`` is the chain.

    A call from the playground passes the chain like any caller's, with the caller's key that the
    operator has typed in: under its limits, at its cost. It is not metered twice.
    """

    def __init__(
        self,
        pages: Pages,
        sign_in: SignInApp,
        guard: SessionGuard,
        metered: Callable[[ASGIApp], ASGIApp],
        callers: ASGIApp,
    ) -> None:
        self._pages = pages
        self._sign_in = sign_in
        self._guard = guard
        self._own = metered(self._answer)
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = scope["path"].removeprefix(PATH)
        if call in CALLS:
            await self._call(call, scope, receive, send)
        else:
            await self._own(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange, method = exchange_of(scope), scope["method"]
        name = scope["path"].removeprefix(PATH).removeprefix("/")
        try:
            if name == SESSION:
                await self._sign_in(scope, receive, send)
            elif method in ("GET", "HEAD"):
                await self._pages.send(name, scope, send)
            else:
                raise NotFound("There is nothing at this path.", retryable=False)
        except GatewayError as error:
            await refuse(exchange, send, error)

    async def _call(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        try:
            if scope["method"] != CALLS[path]:
                message = f"This path answers {CALLS[path]} only."
                raise Refused(message, status=405, code="method_not_allowed")
            await self._guard.session(exchange, scope["method"])
        except GatewayError as error:
            await refuse(exchange, send, error)
            return
        for name in _OF_THE_SESSION:
            exchange.headers.pop(name, None)
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] not in _OF_THE_SESSION]
        scope["path"], scope["raw_path"] = path, path.encode()
        await self._callers(scope, receive, send)
