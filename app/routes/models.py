"""GET /v1/models and /v1/models/{id}: the aliases that a key may use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import unquote_to_bytes

import orjson

from app.core.asgi import Receive, Scope, Send, json_messages
from app.core.errors import NotFound
from app.core.exchange import key_of
from app.openai.validators import MAX_ALIAS

PREFIX = "/v1/models"

App = Callable[[Scope, Receive, Send], Awaitable[None]]


def models_app(aliases: Iterable[str], created: int) -> App:
    """Both routes; ``created`` is when this configuration was loaded, unix seconds."""
    cards = {
        alias: {"id": alias, "object": "model", "created": created, "owned_by": "headgate"}
        for alias in sorted(aliases)
    }

    async def models(scope: Scope, receive: Receive, send: Send) -> None:
        key = key_of(scope)
        wanted = _wanted(scope)
        body: object
        if not wanted:
            listed = [card for alias, card in cards.items() if alias in key.models]
            body = {"object": "list", "data": listed}
        elif wanted in key.models and wanted in cards:
            body = cards[wanted]
        else:
            raise NotFound(
                f"The model {wanted[:MAX_ALIAS]!r} does not exist or this key may not use it.",
                code="model_not_found",
                param="model",
                retryable=False,
            )
        start, message = json_messages(200, orjson.dumps(body))
        await send(start)
        await send(message)

    return models


def _wanted(scope: Scope) -> str:
    """The alias in the path, which may hold slashes; empty for the list."""
    written: bytes = scope["raw_path"][len(PREFIX) + 1 :]
    return unquote_to_bytes(written).decode(errors="replace")
