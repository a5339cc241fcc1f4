"""The admin API as an application: who asks, may they, and which endpoint answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import orjson

from app.connections.bad_keys import BadKeys
from app.core.asgi import (
    ASGIApp,
    Receive,
    Scope,
    Send,
    body_message,
    json_messages,
    start_message,
)
from app.core.errors import Forbidden, GatewayError, HeaderList, NotFound
from app.core.exchange import Exchange, exchange_of
from app.core.refusal import refuse, store_unavailable
from app.policy.admins import AdminKey
from app.routes.admin.calls import AdminCall, AdminReply, AdminRoute
from app.routes.admin.table import RouteTable, query_of
from app.routes.near_paths import NearPaths
from app.routes.reading import read_body
from app.supervision.relay_mark import RELAY_HEADER, RelayMark
from cache.store.base import StoreUnavailable

MAX_BODY_BYTES = 256 << 10
BODY_SECONDS = 30.0
_FIXED: HeaderList = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]

Who = Callable[[Exchange], AdminKey | GatewayError]


class ManagementDoor:
    """Answers what came over the management listener, by the beginning of its path.

    ``public`` are applications that callers may ask too, on their own port; nothing else is.

    ``apps`` are found by path, or by what a path begins with up to a slash. ``recorded`` is told of
    requests that lead nowhere, and a caller that sends one of a ``near`` path. ``routes`` are the rows
    of the admin API.
    """

    def __init__(
        self,
        mark: RelayMark | None,
        apps: Mapping[str, ASGIApp],
        recorded: Callable[[Exchange], None] = lambda _: None,
        near: NearPaths | None = None,
        routes: Sequence[AdminRoute] = (),
        public: Mapping[str, ASGIApp] = MappingProxyType({}),
    ) -> None:
        self.routes = routes
        self._mark = mark
        self._public = {path.encode(): app for path, app in public.items()}
        self._recorded = recorded
        self._near = near
        self._apps = {path.encode(): app for path, app in apps.items()}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange = exchange_of(scope)
        address = self._address(exchange)
        path = scope["raw_path"]
        app = _found(self._public if address is None else self._apps, path)
        if app is None:
            hint = self._near.hint(scope["raw_path"]) if self._near and address is None else ""
            return self._refuse(exchange, send, hint or ".")
        if address is not None:
            scope["state"]["address"] = address
            exchange.peer = address
        return app(scope, receive, send)

    async def _refuse(self, exchange: Exchange, send: Send, hint: str) -> None:
        try:
            error = NotFound(f"There is nothing at this path{hint}", retryable=False)
            await refuse(exchange, send, error)
        finally:
            self._recorded(exchange)

    def _address(self, exchange: Exchange) -> str | None:
        if self._mark is None:
            return None
        return self._mark.address_in(exchange.headers.get(RELAY_HEADER))


def _found(apps: Mapping[bytes, ASGIApp], path: bytes) -> ASGIApp | None:
    whole = apps.get(path)
    return apps.get(b"/" + path[1:].partition(b"/")[0] + b"/") if whole is None else whole


class AdminApi:
    """The endpoints under ``/admin/v1``. ``who`` says which operator a request is from.

    ``bad_keys`` slows those down who guess.
    """

    def __init__(self, routes: Iterable[AdminRoute], who: Who, bad_keys: BadKeys) -> None:
        self._table = RouteTable(routes)
        self._who = who
        self._bad_keys = bad_keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange, address = exchange_of(scope), scope["state"]["address"]
        # Whoever is signed in at the dashboard was found before.
        who = scope["state"].get("operator") or self._who(exchange)
        if not isinstance(who, AdminKey):
            await refuse(exchange, send, await self._bad_keys.slow(exchange, address) or who)
            return
        try:
            match = self._table.find(scope["method"], scope["raw_path"])
            route = match.route
            if not who.may(route.scope):
                raise Forbidden(
                    f"The admin key {who.id!r} lacks the scope {route.scope!r}.",
                    code="scope_required",
                )
            query = query_of(scope["query_string"], route.query)
            body = await read_body(exchange, receive, MAX_BODY_BYTES, BODY_SECONDS)
            reply = await route.run(
                AdminCall(
                    who,
                    scope["method"],
                    match.names,
                    query,
                    exchange.headers,
                    body,
                    address,
                    exchange.request_id,
                )
            )
        except GatewayError as error:
            await refuse(exchange, send, error)
            return
        except StoreUnavailable:
            await refuse(exchange, send, store_unavailable("operators' objects"))
            return
        await _answer(receive, send, reply)


async def _answer(receive: Receive, send: Send, reply: AdminReply) -> None:
    headers = [*_FIXED, *reply.headers]
    if reply.stream is not None:
        await send(start_message(reply.status, headers))
        await _send_stream(receive, send, reply.stream)
    elif reply.document is None:
        await send(start_message(reply.status, headers))
        await send(body_message(b""))
    else:
        for message in json_messages(reply.status, orjson.dumps(reply.document), headers):
            await send(message)


async def _send_stream(receive: Receive, send: Send, pieces: AsyncIterator[bytes]) -> None:
    """Send what comes, until it ends or the operator is gone."""

    async def sending() -> None:
        async for piece in pieces:
            await send(body_message(piece, more=True))
        await send(body_message(b""))

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    both = [asyncio.ensure_future(sending()), asyncio.ensure_future(gone())]
    try:
        done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
