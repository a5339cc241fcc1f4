"""How does a caller of Anthropic's API read an error? In that API's envelope, whoever refused."""

from __future__ import annotations

import orjson

from app.core.asgi import ASGIApp, Message, Receive, Scope, Send
from app.core.exchange import exchange_of
from app.messages.answer import error_body

FIRST_ERROR = 400


class MessageErrors:
    """Writes the errors of one path in Anthropic's envelope, and names each answer as it does.

    Source: https://docs.anthropic.com/en/api/errors (``request-id``, the shape of an error).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = exchange_of(scope).request_id
        refused: Message | None = None

        async def send_in_form(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"request-id", request_id.encode())]
                if message["status"] >= FIRST_ERROR:
                    refused = message
                    return
            elif refused is not None:
                start, refused = refused, None
                body = error_body(orjson.loads(message["body"]), start["status"], request_id)
                kept = [line for line in start["headers"] if line[0] != b"content-length"]
                start["headers"] = [*kept, (b"content-length", b"%d" % len(body))]
                message["body"] = body
                await send(start)
            await send(message)

        await self._app(scope, receive, send_in_form)
