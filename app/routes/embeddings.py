"""Embeddings, as the chain sees them: never streamed, never compared by meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from app.core.family import Family
from app.openai.embeddings.answer import in_form, is_complete, merge, read_answer, split
from app.openai.embeddings.bounds import bounded, is_bounded, likely, most
from app.openai.embeddings.request import EmbeddingsRequest, parse
from app.openai.said import said_in
from cache.answers.embeddings_fingerprint import EmbeddingsFingerprinter


def _fingerprints(**settings: object) -> EmbeddingsFingerprinter:
    return EmbeddingsFingerprinter(family="embeddings", **settings)  # type: ignore[arg-type]


def _merge(parts: Mapping[int, bytes], request: EmbeddingsRequest, envelope: int) -> bytes:
    return merge(parts, request, envelope)


def _nothing(_: EmbeddingsRequest) -> None:
    return None


def _no_text(_: bytes) -> str:
    return ""


def _no_stream(*_: object) -> NoReturn:
    raise NotImplementedError("a request that asks for a stream is refused")


class _WholeView:
    """A plain answer is for everybody as it is; here a stream would be shaped."""

    take = end = taken_over = staticmethod(_no_stream)


def _view(
    request: EmbeddingsRequest,
    positions: Sequence[int] | None,
    known: Mapping[int, bytes] | None,
) -> Any:
    return _WholeView()


EMBEDDINGS = Family(
    name="embeddings",
    prompts="input",
    parse=parse,
    bounded=bounded,
    is_bounded=is_bounded,
    most=most,
    likely=likely,
    mend=read_answer,
    shaper=_no_stream,
    usage_event=_no_stream,
    fingerprints=_fingerprints,
    semantic_text=_nothing,
    answer_text=_no_text,
    is_complete=is_complete,
    split=split,
    merge=_merge,
    replay=_no_stream,
    assembly=_no_stream,
    said_in=said_in,
    view=_view,
    in_form=in_form,
)
