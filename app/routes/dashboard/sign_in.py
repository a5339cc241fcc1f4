"""POST, GET and DELETE /dashboard/session: sign in with an admin key or a link, who am I, sign out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import orjson

from app.connections.bad_keys import BadKeys
from app.core.asgi import Receive, Scope, Send, json_messages
from app.core.errors import GatewayError, HeaderList, InvalidRequest, Unauthenticated
from app.core.exchange import Exchange, exchange_of
from app.core.refusal import store_unavailable
from app.policy.admins import AdminKey, AdminKeys
from app.routes.dashboard.guard import COOKIE, SessionGuard, check_origin, cookie_in, quietly
from app.routes.dashboard.sessions import SESSION_SECONDS, Session, Sessions
from app.routes.reading import read_body
from app.supervision.relay_mark import RelayMark
from cache.store.base import StoreUnavailable

MAX_BODY_BYTES = 4096
BODY_SECONDS = 10.0
MAX_SECRET = 512
# `__Host-` and `Secure`: a browser takes it over TLS or from this machine, and gives it to us only.
_COOKIE = f"{COOKIE}={{}}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={{}}"


_UNKEPT = (b"cache-control", b"no-store")


class Given(msgspec.Struct, forbid_unknown_fields=True):
    """What somebody signs in with: an admin key, or what a sign-in link ends with."""

    key: str = ""
    link: str = ""


class SignInApp:
    """``bad_keys`` slows those down who guess; ``mark`` knows the link of this start; ``note`` writes
    down who comes in."""

    def __init__(
        self,
        keys: AdminKeys,
        sessions: Sessions,
        guard: SessionGuard,
        bad_keys: BadKeys,
        mark: RelayMark | None,
        note: Callable[[bytes], Awaitable[object]],
    ) -> None:
        self._keys = keys
        self._sessions = sessions
        self._guard = guard
        self._bad_keys = bad_keys
        self._mark = mark
        self._note = note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises GatewayError."""
        exchange, method = exchange_of(scope), scope["method"]
        if method == "POST":
            check_origin(exchange.headers)
            secret, session = await self._sign_in(exchange, receive, scope["state"]["address"])
            headers: HeaderList = [_set_cookie(secret, SESSION_SECONDS)]
        elif method == "DELETE":
            session = await self._guard.session(exchange, method)
            headers = [_set_cookie("", 0)]
            await self._end(exchange)
        else:
            await self._tell(exchange, quietly(exchange, send))
            return
        headers.append(_UNKEPT)
        for message in json_messages(200, orjson.dumps(_document(session)), headers):
            await send(message)

    async def _tell(self, exchange: Exchange, send: Send) -> None:
        """Who is signed in, or nobody: to ask is no failure."""
        try:
            document = _document(await self._guard.session(exchange, "GET"))
        except Unauthenticated:
            document = {"object": "session", "id": None}
        for message in json_messages(200, orjson.dumps(document), [_UNKEPT]):
            await send(message)

    async def _sign_in(
        self, exchange: Exchange, receive: Receive, address: str
    ) -> tuple[str, Session]:
        body = await read_body(exchange, receive, MAX_BODY_BYTES, BODY_SECONDS)
        try:
            given = msgspec.json.decode(body, type=Given)
        except (msgspec.DecodeError, msgspec.ValidationError):
            raise InvalidRequest('Expected {"key": "…"} or {"link": "…"}.') from None
        try:
            who = await self._who(given)
            if who is None:
                slowed: GatewayError | None = await self._bad_keys.slow(exchange, address)
                raise slowed or Unauthenticated(_refusal(given), code="invalid_api_key")
            await self._note(_record(exchange, who, address))
            return await self._sessions.open(who)
        except StoreUnavailable:
            raise store_unavailable("sessions") from None

    async def _who(self, given: Given) -> AdminKey | None:
        if given.link:
            if self._mark is None or not self._mark.is_link(given.link):
                return None
            first = self._keys.first
            return first if first and await self._sessions.use_link(given.link) else None
        key = given.key.strip()
        return self._keys.find(key.encode()) if 0 < len(key) <= MAX_SECRET else None

    async def _end(self, exchange: Exchange) -> None:
        try:
            await self._sessions.end(cookie_in(exchange.headers))
        except StoreUnavailable:
            raise store_unavailable("sessions") from None


def _record(exchange: Exchange, who: AdminKey, address: str) -> bytes:
    """What the records of operators' acts hold of a sign-in."""
    facts = {"actor": who.id, "address": address, "request_id": exchange.request_id}
    return orjson.dumps(facts | {"action": "dashboard.sign_in"})


def _refusal(given: Given) -> str:
    if given.link:
        return "This link was used already, or is too old; sign in with an admin key."
    return "The key is none of those under `admin.keys` in the configuration."


def _set_cookie(secret: str, seconds: int) -> tuple[bytes, bytes]:
    return b"set-cookie", _COOKIE.format(secret, seconds).encode()


def _document(session: Session) -> dict[str, Any]:
    who = session.who
    return {
        "object": "session",
        "id": who.id,
        "scopes": sorted(who.scopes),
        "tenants": sorted(who.tenants) if who.tenants is not None else None,
        "token": session.token,
    }
