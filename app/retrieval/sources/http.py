"""A retriever of the operator's own, asked over HTTP.

It is sent ``{"query", "k", "tenant", "filter"}`` and answers ``{"chunks": [{"id", "text", "source",
"score"}]}`` (docs/retrieval.md). Its answer is bounded, and believed only in this form.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

import msgspec
import orjson

from app.core.errors import GatewayError, HeaderList
from app.retrieval.chunk import Chunk, Question, RetrievalFailure, Wanted
from app.retrieval.documents import MAX_TEXT

MOST_CHUNKS = 200  # in one answer; more is a mistake of the retriever's

# Sends a body and gives the answer's; raises GatewayError.
Post = Callable[[bytes, HeaderList], Awaitable[bytes]]


class _Chunk(msgspec.Struct):
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    text: Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
    source: Annotated[str, msgspec.Meta(max_length=2048)] = ""
    score: float = 0.0
    tenant: str | None = None


class _Answer(msgspec.Struct):
    chunks: Annotated[list[_Chunk], msgspec.Meta(max_length=MOST_CHUNKS)]


_answer_of = msgspec.json.Decoder(_Answer).decode


class HttpSource:
    """``filter`` is the configuration's; the key that asks is added to it, never the caller's own."""

    def __init__(
        self, post: Post, filter_: Mapping[str, Any], aclose: Callable[[], Awaitable[None]]
    ) -> None:
        self._post = post
        self._filter = dict(filter_)
        self._aclose = aclose

    async def prepare(self) -> None:
        return

    async def find(self, question: Question, wanted: Wanted) -> list[Chunk]:
        body = orjson.dumps(
            {
                "query": question.text,
                "k": wanted.k,
                "tenant": wanted.tenant,
                "filter": {**self._filter, "key": wanted.key},
            }
        )
        try:
            said = _answer_of(await self._post(body, []))
        except GatewayError as error:
            raise RetrievalFailure(error.code or "failed") from None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise RetrievalFailure("invalid_answer") from None
        # A retriever that says whose a chunk is is held to it.
        return [
            Chunk(one.id, one.text, one.source or one.id, one.score, one.tenant or wanted.tenant)
            for one in said.chunks
        ]

    async def aclose(self) -> None:
        await self._aclose()
