"""Files whose chunks every worker holds in its memory, embedded when the configuration is loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import structlog

from app.retrieval.chunk import Chunk, Question, RetrievalFailure, TextEncoder, Wanted
from app.retrieval.documents import Audience, BadDocument, files_of, generation_of, read_chunks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_CHUNKS = 10_000
MAX_MASKS = 1_000  # kept: which chunks a key may see
ASIDE = 1 << 20  # numbers that are compared in a thread, so that the event loop does not wait
BATCH = 64  # texts that are embedded together


class Embeddings(NamedTuple):
    """Chunks with their vectors, one a row; ``generation`` changes with anything in them."""

    generation: str
    chunks: list[Chunk]
    rows: NDArray[np.float32]


class Kept:
    """The embeddings that outlive a reload, because neither files nor encoder changed."""

    def __init__(self) -> None:
        self._known: dict[str, Embeddings] = {}
        self._used: set[str] = set()

    def get(self, generation: str) -> Embeddings | None:
        self._used.add(generation)
        return self._known.get(generation)

    def put(self, embeddings: Embeddings) -> None:
        self._used.add(embeddings.generation)
        self._known[embeddings.generation] = embeddings

    def forget_unused(self) -> None:
        """Forget what was neither got nor put since the last time."""
        self._known = {name: one for name, one in self._known.items() if name in self._used}
        self._used.clear()


class StaticSource:
    """``groups`` are patterns of files, each with whom they are for."""

    def __init__(
        self,
        name: str,
        groups: Sequence[tuple[tuple[str, ...], Audience]],
        encoder: TextEncoder,
        kept: Kept,
    ) -> None:
        self._name = name
        self._groups = groups
        self._encoder = encoder
        self._kept = kept
        self._embeddings: Embeddings | None = None
        self._begun = ""  # the generation that is being embedded, and its vectors so far
        self._vectors: list[bytes] = []
        self._masks: dict[tuple[str, str], NDArray[np.bool_]] = {}

    async def prepare(self) -> None:
        try:
            chunks = await asyncio.to_thread(chunks_of, self._groups)
        except BadDocument as error:
            raise RetrievalFailure(str(error)) from None
        generation = f"{generation_of(chunks)}/{self._encoder.identity}"
        found = self._kept.get(generation)
        if found is None:
            found = await self._embedded(generation, chunks)
            self._kept.put(found)
        self._embeddings = found
        structlog.get_logger("headgate").info(
            "retrieval_ready", retrieval=self._name, chunks=len(chunks), generation=generation
        )

    async def find(self, question: Question, wanted: Wanted) -> list[Chunk]:
        found = self._embeddings
        if found is None:
            raise RetrievalFailure("not_ready")
        if not found.chunks:
            return []
        if found.rows.size > ASIDE:
            return await asyncio.to_thread(self._nearest, found, question.vector, wanted)
        return self._nearest(found, question.vector, wanted)

    async def aclose(self) -> None:
        return

    def _nearest(self, found: Embeddings, vector: bytes, wanted: Wanted) -> list[Chunk]:
        import numpy as np  # noqa: PLC0415 - an extra

        asked = np.frombuffer(vector, dtype="<f4")
        if len(asked) != found.rows.shape[1]:
            raise RetrievalFailure("dimensions")
        mask = self._mask(found, wanted)
        scores = np.where(mask, found.rows @ asked, np.float32(-2))  # a cosine is at least -1
        count = min(wanted.k, int(mask.sum()))
        if not count:
            return []
        best = np.argpartition(scores, len(scores) - count)[len(scores) - count :]
        return [found.chunks[row]._replace(score=float(scores[row])) for row in best]

    def _mask(self, found: Embeddings, wanted: Wanted) -> NDArray[np.bool_]:
        """Which chunks this key of this tenant may see."""
        import numpy as np  # noqa: PLC0415 - an extra

        place = wanted.tenant, wanted.key
        mask = self._masks.get(place)
        if mask is None:
            if len(self._masks) >= MAX_MASKS:
                self._masks.clear()
            mask = np.array([chunk.is_for(*place) for chunk in found.chunks])
            self._masks[place] = mask
        return mask

    async def _embedded(self, generation: str, chunks: list[Chunk]) -> Embeddings:
        """The chunks with their vectors. Raises RetrievalFailure."""
        import numpy as np  # noqa: PLC0415 - an extra

        if self._begun != generation:
            self._begun, self._vectors = generation, []
        vectors = self._vectors  # what an encoder that failed has given stays
        for at in range(len(vectors), len(chunks), BATCH):
            batch = [chunk.text for chunk in chunks[at : at + BATCH]]
            vectors += (await self._encoder.vectors(batch)).vectors
        self._begun, self._vectors = "", []
        if len({len(vector) for vector in vectors}) > 1:
            raise RetrievalFailure("dimensions")
        rows = np.frombuffer(b"".join(vectors), dtype="<f4")
        return Embeddings(generation, chunks, rows.reshape(len(chunks), -1) if chunks else rows)


def chunks_of(groups: Sequence[tuple[tuple[str, ...], Audience]]) -> list[Chunk]:
    """Every chunk of every group, each under an id of its own for its tenant. Raises BadDocument."""
    found: dict[tuple[str, str], Chunk] = {}
    for patterns, audience in groups:
        for path in files_of(patterns):
            for chunk in read_chunks(path, audience):
                first = found.setdefault((chunk.tenant, chunk.id), chunk)
                if first is not chunk and first.text != chunk.text:
                    raise BadDocument(f"{path}: the id {chunk.id!r} stands for two texts")
                if len(found) > MAX_CHUNKS:
                    raise BadDocument(
                        f"more than {MAX_CHUNKS} chunks; keep them in Redis (`kind: redis`)"
                    )
    return list(found.values())
