"""Chunks in Redis 8 vector sets, as ``headgate rag load`` fills them."""

from __future__ import annotations

from app.retrieval.chunk import Chunk, Question, RetrievalFailure, Wanted
from cache.chunks.index import ChunkIndex, WrongVectors
from cache.store.base import CommandRefused, Store, StoreUnavailable


class RedisSource:
    """``filter_`` is an expression of the configuration's over the attributes of chunks.

    ``own`` is a store of its own, which it starts and closes.
    """

    def __init__(self, index: ChunkIndex, filter_: str, own: Store | None = None) -> None:
        self._index = index
        self._filter = filter_
        self._own = own
        self._started = False

    async def prepare(self) -> None:
        if self._own is not None and not self._started:
            self._own.start()
            self._started = True

    async def find(self, question: Question, wanted: Wanted) -> list[Chunk]:
        try:
            return await self._index.find(question.vector, wanted, self._filter)
        except WrongVectors:
            raise RetrievalFailure("dimensions") from None
        except StoreUnavailable:
            raise RetrievalFailure("store_unavailable") from None
        except CommandRefused:  # no vector sets, or a filter that it does not understand
            raise RetrievalFailure("store_refused") from None

    async def aclose(self) -> None:
        if self._own is not None:
            await self._own.aclose()
