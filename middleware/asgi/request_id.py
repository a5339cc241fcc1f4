"""Who is this request? The outermost layer: it wraps the Litestar app, so that 404s have an id too."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import getrandbits
from time import perf_counter

from app.core.asgi import ASGIApp, Receive, Scope, Send, answer_error
from app.core.errors import GatewayError, HeaderList
from app.core.exchange import Exchange

_SANE = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch

OnCrash = Callable[[str, BaseException], None]


class RequestId:
    """Makes the Exchange, which names whatever answer goes out.

    ``fixed`` headers go on every answer, and whatever ``closing`` holds when it begins. ``on_crash`` is told of an exception that nobody caught.
    """

    def __init__(
        self, app: ASGIApp, *, fixed: HeaderList, on_crash: OnCrash, closing: HeaderList
    ) -> None:
        self._app = app
        self._fixed = fixed
        self._closing = closing
        self._on_crash = on_crash

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        given = headers.get(b"x-request-id")
        if given is not None and _SANE(given):
            request_id = given.decode()
        else:
            request_id = f"{getrandbits(128):032x}"
        exchange = Exchange(request_id, headers, started)
        exchange.reply_headers += ((b"x-request-id", request_id.encode()), *self._fixed)
        exchange.closing = self._closing
        exchange.method, exchange.path = scope["method"], scope["raw_path"]
        exchange.peer = scope["client"][0]
        scope["state"]["exchange"] = exchange
        try:
            await self._app(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - the outermost door
            self._on_crash(request_id, error)
            if exchange.outcome.first_byte is None:
                await answer_error(send, GatewayError("The gateway failed; see its log."))
