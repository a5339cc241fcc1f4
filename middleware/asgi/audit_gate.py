"""Can this request be recorded? For operators who would rather refuse one than not know of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from app.core.asgi import ASGIApp, Receive, Scope, Send
from app.core.errors import Unavailable
from app.core.exchange import exchange_of
from app.core.limits import retry_headers
from app.core.refusal import SOON, refuse

CODE = "audit_unavailable"  # as below; the contract's test reads what is written at the raise


class AuditGate:
    """Refuses requests while ``is_full``: while the audit log cannot take their records."""

    def __init__(self, app: ASGIApp, *, is_full: Callable[[], bool]) -> None:
        self._app = app
        self._is_full = is_full

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if self._is_full():
            return refuse(exchange_of(scope), send, _cannot_be_recorded())
        return self._app(scope, receive, send)


def _cannot_be_recorded() -> Unavailable:
    return Unavailable(
        "The audit log cannot take a record of this request now; try again shortly.",
        code="audit_unavailable",
        headers=retry_headers(SOON),
    )
