"""Text completions, as the chain sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from app.core.family import Family, Part
from app.core.reply import StreamEnd
from app.core.usage import Usage
from app.openai.completions import parts as cached_parts
from app.openai.completions.answer import read_answer
from app.openai.completions.bounds import bounded, is_bounded, likely, most
from app.openai.completions.replay import CompletionAssembly, replay
from app.openai.completions.request import CompletionRequest, parse
from app.openai.completions.stream import StreamShaper
from app.openai.completions.view import CompletionView
from app.openai.said import said_in
from cache.answers.fingerprint import Fingerprinter
from cache.semantic.eligible_text import fuzzy_text


def _fingerprints(**settings: object) -> Fingerprinter:
    return Fingerprinter(family="completions", **settings)  # type: ignore[arg-type]


def _text(body: bytes) -> str:
    """The text of a plain answer's first choice."""
    text = orjson.loads(body)["choices"][0]["text"]
    return text if isinstance(text, str) else ""


def _is_complete(body: bytes, request: CompletionRequest) -> bool:
    return cached_parts.is_clean(body, request.choices)


def _split(body: bytes, usage: Usage, request: CompletionRequest) -> list[Part]:
    return cached_parts.split(body, usage, request.prompts, request.n)


def _merge(parts: Mapping[int, bytes], request: CompletionRequest, envelope: int) -> bytes:
    return cached_parts.merge(parts, len(request.prompts), request.n, envelope)


def _usage_event(first: Mapping[str, Any], end: StreamEnd) -> dict[str, Any]:
    head = {name: first[name] for name in ("id", "object", "created", "model")}
    return {**head, "choices": [], **end.members}


def _view(
    request: CompletionRequest,
    positions: Sequence[int] | None,
    known: Mapping[int, bytes] | None,
) -> CompletionView:
    return CompletionView(positions=positions, known=known, n=request.n)


COMPLETIONS = Family(
    name="completions",
    prompts="prompt",
    parse=parse,
    bounded=bounded,
    is_bounded=is_bounded,
    most=most,
    likely=likely,
    mend=read_answer,
    shaper=StreamShaper,
    usage_event=_usage_event,
    fingerprints=_fingerprints,
    semantic_text=fuzzy_text,
    answer_text=_text,
    is_complete=_is_complete,
    split=_split,
    merge=_merge,
    replay=replay,
    assembly=CompletionAssembly,
    said_in=said_in,
    view=_view,
)
