"""POST /v1/cache/feedback: a caller says that an answer by meaning was wrong, or right."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec
import orjson

from app.core.asgi import Receive, Scope, Send, json_messages
from app.core.errors import GatewayError, InvalidRequest
from app.core.exchange import Exchange, exchange_of, key_of
from app.core.keys import Key
from app.core.refusal import refuse, store_unavailable
from app.routes.reading import read_body
from cache.quotas.counters import Counters
from cache.semantic.feedback_ids import FeedbackIds, Served
from cache.semantic.index import SemanticIndex
from cache.store.base import StoreUnavailable

MAX_BODY = 4096
BODY_SECONDS = 30.0


class _Feedback(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    verdict: Literal["bad", "good"]


def feedback_app(
    semantic_index: SemanticIndex,
    counters: Counters,
    ids: FeedbackIds,
    take: Callable[[Exchange, Key], Awaitable[None]],
    shared_by_all: bool,
) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """The endpoint. ``take`` takes a request of the key's limits, or raises. With ``shared_by_all`` some
    answers belong to no tenant."""

    def named(text: str, tenant: str) -> Served:
        """Raises InvalidRequest where this tenant was never served under this id."""
        if not ids.known:
            raise store_unavailable("feedback")
        served = ids.read(text, (tenant, "") if shared_by_all else (tenant,))
        if served is None:
            raise InvalidRequest("`id` is not the x-headgate-cache-id of an answer.", param="id")
        return served

    async def feedback(scope: Scope, receive: Receive, send: Send) -> None:
        exchange, key = exchange_of(scope), key_of(scope)
        try:
            await take(exchange, key)
            body = await read_body(exchange, receive, MAX_BODY, BODY_SECONDS)
            said = _read(body)
            what = named(said.id, key.tenant)
        except GatewayError as error:
            await refuse(exchange, send, error)
            return
        if said.verdict == "bad":
            try:
                await semantic_index.ban(what.tenant, what.asked, what.served, quarantine=True)
            except StoreUnavailable:
                await refuse(exchange, send, store_unavailable("feedback"))
                return
        counters.add("headgate_semantic_feedback_total", {"verdict": said.verdict})
        answer = {"id": said.id, "quarantined": said.verdict == "bad"}
        for message in json_messages(200, orjson.dumps(answer)):
            await send(message)

    return feedback


def _read(body: bytes) -> _Feedback:
    try:
        return msgspec.json.decode(body, type=_Feedback)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise InvalidRequest(
            'Send {"id": "…", "verdict": "bad"} or "good", with the x-headgate-cache-id of the answer.'
        ) from None
