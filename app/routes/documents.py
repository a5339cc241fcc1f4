"""GET /openapi.json: what the gateway takes and gives, for tools and for people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache

import orjson

from app.core.asgi import Receive, Scope, Send, json_messages

OPENAPI_PATH = "/openapi.json"

App = Callable[[Scope, Receive, Send], Awaitable[None]]


def openapi_app() -> App:
    """The document, made when it is asked for the first time."""

    async def openapi(scope: Scope, receive: Receive, send: Send) -> None:
        for message in json_messages(200, openapi_bytes()):
            await send(message)

    return openapi


@cache
def openapi_bytes() -> bytes:
    """The document of the callers' operations."""
    from app.routes.openapi.document import document  # noqa: PLC0415 - most workers never need it

    return orjson.dumps(document())
