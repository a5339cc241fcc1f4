"""GET /openapi.json: what the gateway takes and gives, for tools and for people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import cache

import orjson

from app.core.asgi import Receive, Scope, Send, json_messages
from app.core.exchange import exchange_of
from app.routes.admin.calls import AdminRoute
from app.supervision.relay_mark import RELAY_HEADER, RelayMark

OPENAPI_PATH = "/openapi.json"

App = Callable[[Scope, Receive, Send], Awaitable[None]]


def openapi_app(mark: RelayMark | None, operators: Callable[[], Iterable[AdminRoute]]) -> App:
    """The document, made when it is asked for the first time.

    On the management listener, of which ``mark`` tells, it has the ``operators``' part too.
    """
    whole: list[bytes] = []

    async def openapi(scope: Scope, receive: Receive, send: Send) -> None:
        header = exchange_of(scope).headers.get(RELAY_HEADER)
        body = openapi_bytes()
        if header is not None and mark is not None and mark.address_in(header) is not None:
            if not whole:
                whole.append(with_operators(operators()))
            [body] = whole
        for message in json_messages(200, body):
            await send(message)

    return openapi


@cache
def openapi_bytes() -> bytes:
    """The document of the callers' operations."""
    from app.routes.openapi.document import document  # noqa: PLC0415 - most workers never need it

    return orjson.dumps(document())


def with_operators(routes: Iterable[AdminRoute]) -> bytes:
    """The document of the callers' operations and of these."""
    from app.routes.openapi.document import document  # noqa: PLC0415 - as above
    from app.routes.openapi.operations import OPERATIONS  # noqa: PLC0415
    from app.routes.openapi.operators import (  # noqa: PLC0415
        operator_operations,
        operator_schemas,
    )

    operations = operator_operations(routes)
    schemas = operator_schemas() if operations else {}
    return orjson.dumps(document([*OPERATIONS, *operations], schemas))
