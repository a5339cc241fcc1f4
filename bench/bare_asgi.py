"""The smallest ASGI application: reads the body, answers from memory. Shows the server's share."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from bench.requests import COMPLETION

Message = MutableMapping[str, Any]

_BODY = json.dumps(COMPLETION).encode()
_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(_BODY)).encode()),
]


async def app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Answers every HTTP request with the same completion."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})
