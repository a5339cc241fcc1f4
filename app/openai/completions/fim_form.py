"""Fill-in-the-middle in Mistral's form, for callers that know no other: a completion in, chat out. Pure.

Source: https://docs.mistral.ai/api, endpoint ``/v1/fim/completions``; Continue's adapters ask there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from app.core.errors import GatewayError
from app.core.reply import Chunk, StreamEnd
from app.openai import json_body, sse
from app.openai.completions.request import CompletionRequest, parse

_ID, _CHAT_ID = "cmpl-", "chatcmpl-"


def parse_fim(body: bytes) -> CompletionRequest:
    """The completion that is asked for. Raises InvalidRequest."""
    if b'"random_seed"' in body:
        try:
            document = json_body.decode_object(body)
        except json_body.NotStrictJson:
            return parse(body)  # which says what is wrong
        if "random_seed" in document:
            document["seed"] = document.pop("random_seed")
        body = orjson.dumps(document)
    return parse(body)


def as_chat(body: bytes, request: CompletionRequest) -> bytes:
    """A plain completion in chat's shape."""
    document = orjson.loads(body)
    choices = [
        {
            "index": choice["index"],
            "message": {"role": "assistant", "content": choice["text"]},
            "finish_reason": choice["finish_reason"],
        }
        for choice in document["choices"]
    ]
    return orjson.dumps(document | _head(document, "chat.completion") | {"choices": choices})


class FimEvents:
    """Encodes one stream: deltas of chat, then the usage, then the end mark."""

    __slots__ = ("_first", "_spoken")

    def __init__(self, request: CompletionRequest, request_id: str) -> None:  # noqa: ARG002 - unused
        self._first: dict[str, Any] = {}
        self._spoken: set[int] = set()

    def events(self, chunks: Sequence[Chunk]) -> bytes:
        return b"".join([sse.event(orjson.dumps(self._made(chunk.document))) for chunk in chunks])

    def end(self, end: StreamEnd) -> bytes:
        last = self._first | {"choices": [], **end.members}
        return sse.event(orjson.dumps(last)) + sse.DONE_EVENT

    def error(self, error: GatewayError) -> bytes:
        return sse.event(error.body())

    def _made(self, document: Mapping[str, Any]) -> dict[str, Any]:
        choices = [
            {
                "index": choice["index"],
                "delta": self._role(choice["index"]) | {"content": choice["text"]},
                "finish_reason": choice["finish_reason"],
            }
            for choice in document["choices"]
        ]
        made = dict(document) | _head(document, "chat.completion.chunk") | {"choices": choices}
        if not self._first:
            self._first = {name: made[name] for name in ("id", "object", "created", "model")}
        return made

    def _role(self, index: int) -> dict[str, str]:
        """The role, in each choice's first delta."""
        if index in self._spoken:
            return {}
        self._spoken.add(index)
        return {"role": "assistant"}


def _head(document: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {"id": _CHAT_ID + str(document["id"]).removeprefix(_ID), "object": kind}
