"""How a layer refuses: it notes why, for the record, and sends the answer itself."""

from __future__ import annotations

from app.core.asgi import Send, answer_error
from app.core.errors import GatewayError, Unavailable
from app.core.exchange import Exchange
from app.core.limits import retry_headers

SOON = 1_000_000  # microseconds; a store that is out is looked after four times a second


async def refuse(exchange: Exchange, send: Send, error: GatewayError) -> None:
    """End the request with this error."""
    exchange.outcome.error_code = error.code
    await answer_error(send, error)


def store_unavailable(what: str) -> GatewayError:
    """The error for a request that needs ``what`` from a store that is out."""
    return Unavailable(
        f"The store that keeps the {what} cannot be reached; try again shortly.",
        code="store_unavailable",
        headers=retry_headers(SOON),
    )


def owner_of(scope: str) -> str:
    """Whose limit or budget a scope (``key:web``, ``model:demo``, ``tenant``) is, for a message."""
    kind = scope.partition(":")[0]
    return {"key": "This key's", "tenant": "The tenant's"}.get(kind, "The model's")
