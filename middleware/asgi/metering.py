"""What happened? One record per request, also on refusal, failure and disconnect."""

from __future__ import annotations

from app.core.asgi import ASGIApp, Receive, Scope, Send
from app.core.errors import GatewayError
from app.core.exchange import exchange_of
from app.observability.request_record import Recorder


class Metering:
    """Has every exchange recorded when it is over, under the name of its endpoint family."""

    def __init__(self, app: ASGIApp, *, recorder: Recorder, operation: str | None = None) -> None:
        self._app = app
        self._operation = operation
        self._recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        exchange.outcome.operation = self._operation
        if self._recorder.keeps_texts:
            exchange.outcome.text = []
        if self._recorder.traces is not None:
            exchange.outcome.trace = self._recorder.traces.begin(exchange.headers)
        try:
            await self._app(scope, receive, send)
        except Exception:
            outcome = exchange.outcome
            if outcome.first_byte is None:  # RequestId, outside, answers it so
                outcome.status, outcome.error_code = GatewayError.status, GatewayError.code
            raise
        finally:
            self._recorder(exchange)
