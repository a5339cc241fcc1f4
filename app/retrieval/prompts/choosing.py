"""Which of the chunks that were found are used: the nearest that fit, each once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from app.core.usage import estimate_text
from app.retrieval.chunk import Chunk
from app.retrieval.prompts.template import context_of, written

# What the marks around all chunks take, in tokens by the rule of thumb.
FRAME_TOKENS = estimate_text(context_of([]))


class Chosen(NamedTuple):
    """The chunks to use, the nearest first, and how many were left out for which reason."""

    chunks: list[Chunk]
    left_out: dict[str, int]


def choose(found: Sequence[Chunk], *, min_score: float | None, max_tokens: int) -> Chosen:
    """The nearest chunks that together have at most so many tokens, by the rule of thumb.

    The farthest goes first where they are too many, and a nearer one never for a farther one.
    """
    left_out: dict[str, int] = {}
    kept: list[Chunk] = []
    texts: set[str] = set()
    ids: set[str] = set()
    room = max_tokens - FRAME_TOKENS
    for chunk in sorted(found, key=lambda one: (-one.score, one.id)):
        said = " ".join(chunk.text.casefold().split())
        if min_score is not None and chunk.score < min_score:
            reason = "score"
        elif not said:
            reason = "blank"
        elif said in texts or chunk.id in ids:
            reason = "duplicate"
        else:
            texts.add(said)
            ids.add(chunk.id)
            room -= estimate_text(written(chunk, len(kept) + 1)) + 1
            if room >= 0:
                kept.append(chunk)
                continue
            reason = "budget"
        left_out[reason] = left_out.get(reason, 0) + 1
    return Chosen(kept, left_out)
