"""What if the route refuses? Routes and providers raise; here it becomes the answer."""

from __future__ import annotations

from app.core.asgi import ASGIApp, Receive, Scope, Send, answer_error
from app.core.errors import GatewayError
from app.core.exchange import exchange_of


class Errors:
    """Answers a GatewayError that was raised before anything was sent.

    Around the route itself and not in Litestar's stack: there Litestar's own handler stands between
    the layers and the route. It would answer too, at four times the cost, and those who want to know
    why (a cache with a stale answer) would not.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except GatewayError as error:
            outcome = exchange_of(scope).outcome
            outcome.error_code, outcome.failure = error.code, error
            if outcome.status:
                raise  # the answer has begun: only cutting it off is honest
            await answer_error(send, error)
