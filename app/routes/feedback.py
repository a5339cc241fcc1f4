"""POST /v1/cache/feedback: a caller says that an answer by meaning was wrong, or right."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec
import orjson

from app.core.asgi import Receive, Scope, Send, json_messages
from app.core.errors import GatewayError, InvalidRequest, Refused
from app.core.exchange import exchange_of
from app.core.refusal import refuse, store_unavailable
from cache.connection import StoreUnavailable
from cache.counters import Counters
from cache.meanings import Meanings

MAX_BODY = 4096
_DIGEST = 32
_ID = re.compile(r"[A-Za-z0-9_-]{86}").fullmatch  # two digests


class _Feedback(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    verdict: Literal["bad", "good"]


def feedback_app(
    meanings: Meanings, counters: Counters, shared_by_all: bool
) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """The endpoint. With ``shared_by_all`` some answers belong to no tenant."""

    async def feedback(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        key = exchange.key
        assert key is not None
        try:
            body = await _body(receive)
            exchange.body_read = True
            said = _read(body)
            asked, served = _pair(said.id)
        except GatewayError as error:
            await refuse(exchange, send, error)
            return
        if said.verdict == "bad":
            try:
                # A digest has its tenant in it: under another tenant's name it names nothing.
                for tenant in (key.tenant, "") if shared_by_all else (key.tenant,):
                    await meanings.ban(tenant, asked, served)
                    await meanings.quarantine(tenant, served)
            except StoreUnavailable:
                await refuse(exchange, send, store_unavailable("feedback"))
                return
        counters.add("headgate_semantic_feedback_total", {"verdict": said.verdict})
        answer = {"id": said.id, "quarantined": said.verdict == "bad"}
        for message in json_messages(200, orjson.dumps(answer)):
            await send(message)

    return feedback


async def _body(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise InvalidRequest("The body was cut off.")
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise Refused(
                f"The body is larger than {MAX_BODY} bytes.", status=413, code="request_too_large"
            )
        if not message.get("more_body"):
            return body


def _read(body: bytes) -> _Feedback:
    try:
        return msgspec.json.decode(body, type=_Feedback)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise InvalidRequest(
            'Send {"id": "…", "verdict": "bad"} or "good", with the x-headgate-cache-id of the answer.'
        ) from None


def _pair(text: str) -> tuple[bytes, bytes]:
    """The fingerprints of what was asked and of what was served."""
    if not _ID(text):
        raise InvalidRequest("`id` is not the x-headgate-cache-id of an answer.", param="id")
    both = urlsafe_b64decode(text + "==")
    return both[:_DIGEST], both[_DIGEST:]
