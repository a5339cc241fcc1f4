"""GET /tokenizer_info and POST /tokenize: passed on to the servers of models that declare them.

Evaluation harnesses ask for them, below the address without ``/v1``, as vLLM has them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from app.core.asgi import Receive, Scope, Send, json_messages
from app.core.errors import GatewayError, InvalidRequest, NotFound, NotImplementedHere
from app.core.exchange import Exchange, exchange_of, key_of
from app.core.keys import Key
from app.core.refusal import refuse
from app.openai.json_body import NotStrictJson, decode_object
from app.openai.validators import MAX_ALIAS
from app.providers.tokenizers import Tokenizer, Tokenizers
from app.routes.reading import read_body

INFO_PATH = "/tokenizer_info"
TOKENIZE_PATH = "/tokenize"

App = Callable[[Scope, Receive, Send], Awaitable[None]]
# A body with what guardrails leave of its texts, by request id, key and alias. Raises GatewayError.
Guarded = Callable[[str, Key, str, dict[str, Any]], Awaitable[dict[str, Any]]]
Take = Callable[[Exchange, Key], Awaitable[None]]


class TokenizerRoutes:
    """Both routes. ``guarded`` applies guardrails to what is sent, and ``take`` takes a request of the key's limits, or raises."""

    def __init__(
        self,
        tokenizers: Tokenizers,
        take: Take,
        max_bytes: int,
        body_timeout: float,
        guarded: Guarded | None = None,
    ) -> None:
        self._tokenizers = tokenizers
        self._take = take
        self._max_bytes = max_bytes
        self._body_timeout = body_timeout
        self._guarded = guarded

    async def info(self, scope: Scope, _: Receive, send: Send) -> None:
        """What a model's server says of its tokenizer; ``?model=`` chooses where there are several."""

        async def work(exchange: Exchange, key: Key) -> bytes:
            await self._take(exchange, key)
            named = parse_qs(scope["query_string"].decode(errors="replace")).get("model", [""])[0]
            tokenizer = self._found(exchange, key, named or self._only(key))
            return await tokenizer.info()

        await _answer(scope, send, work)

    async def tokenize(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A text's tokens; the body is the server's own, but for ``model``."""

        async def work(exchange: Exchange, key: Key) -> bytes:
            await self._take(exchange, key)
            body = await read_body(exchange, receive, self._max_bytes, self._body_timeout)
            document = _decoded(body)
            named = document.get("model")
            if named is not None and type(named) is not str:
                raise InvalidRequest("`model` must be a string.", param="model")
            alias = named or self._only(key)
            tokenizer = self._found(exchange, key, alias)
            if self._guarded is not None:
                document = await self._guarded(exchange.request_id, key, alias, document)
            return await tokenizer.tokenize(document)

        await _answer(scope, send, work)

    def _only(self, key: Key) -> str:
        """The one model that a key can mean where it names none."""
        known = sorted(alias for alias in self._tokenizers if alias in key.models)
        if len(known) == 1:
            return known[0]
        if not known:
            raise NotImplementedHere("No model of this key offers its tokenizer.", param="model")
        raise InvalidRequest(f"Name a `model`: one of {', '.join(known)}.", param="model")

    def _found(self, exchange: Exchange, key: Key, alias: str) -> Tokenizer:
        if alias not in key.models:
            raise NotFound(
                f"The model {alias[:MAX_ALIAS]!r} does not exist or this key may not use it.",
                code="model_not_found",
                param="model",
                retryable=False,
            )
        exchange.outcome.alias = alias
        tokenizer = self._tokenizers.get(alias)
        if tokenizer is None:
            raise NotImplementedHere(
                f"The model {alias!r} does not offer its tokenizer.", param="model"
            )
        return tokenizer


def tokenizer_apps(routes: TokenizerRoutes) -> tuple[App, App]:
    """Both routes as functions, because Litestar copies whatever else it is given, deeply."""

    async def info(scope: Scope, receive: Receive, send: Send) -> None:
        await routes.info(scope, receive, send)

    async def tokenize(scope: Scope, receive: Receive, send: Send) -> None:
        await routes.tokenize(scope, receive, send)

    return info, tokenize


async def _answer(
    scope: Scope, send: Send, work: Callable[[Exchange, Key], Awaitable[bytes]]
) -> None:
    exchange = exchange_of(scope)
    try:
        body = await work(exchange, key_of(scope))
    except GatewayError as error:
        await refuse(exchange, send, error)
        return
    for message in json_messages(200, body):
        await send(message)


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        return decode_object(body)
    except NotStrictJson as error:
        raise InvalidRequest(str(error), code="invalid_json") from None
