"""Chat completions, as the chain sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import orjson

from app.core.family import Family, Part
from app.core.reply import StreamEnd
from app.core.usage import Usage
from app.openai.chat.answer import read_answer
from app.openai.chat.bounds import bounded, is_bounded, likely, most
from app.openai.chat.replay import ChatAssembly, replay
from app.openai.chat.request import ChatRequest, parse
from app.openai.chat.stream import ChatStreamShaper
from app.openai.chat.view import ChatView
from app.openai.said import said_in
from cache.answers.chat_fingerprint import ChatFingerprinter
from cache.semantic.eligible_text import chat_text

# What the servers that we know say of a choice that came to its own end. Whatever else one says
# (content_filter, abort, error), nobody else should get it.
_FINISHED = frozenset(
    {"stop", "length", "tool_calls", "function_call", "eos", "eos_token", "max_tokens"}
)


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Choices(msgspec.Struct):
    choices: list[_Choice]


_decode_choices = msgspec.json.Decoder(_Choices).decode


def _fingerprints(**settings: object) -> ChatFingerprinter:
    return ChatFingerprinter(family="chat", **settings)  # type: ignore[arg-type]


def _text(body: bytes) -> str:
    """The text of a plain answer's first choice."""
    text = orjson.loads(body)["choices"][0]["message"].get("content")
    return text if isinstance(text, str) else ""


def _is_complete(body: bytes, request: ChatRequest) -> bool:
    """Whether a plain answer may be kept: every choice is there and came to its own end."""
    try:
        found = _decode_choices(body).choices
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return len(found) == request.n and all(c.finish_reason in _FINISHED for c in found)


def _split(body: bytes, usage: Usage, request: ChatRequest) -> list[Part]:
    return [Part(body, usage)]  # one conversation is one prompt


def _merge(parts: Mapping[int, bytes], request: ChatRequest, envelope: int) -> bytes:
    return parts[envelope]


def _usage_event(first: Mapping[str, Any], end: StreamEnd) -> dict[str, Any]:
    head = {name: first[name] for name in ("id", "object", "created", "model")}
    return {**head, "choices": [], **end.members}


def _view(
    request: ChatRequest,
    positions: Sequence[int] | None,
    known: Mapping[int, bytes] | None,
) -> ChatView:
    return ChatView()


CHAT = Family(
    name="chat",
    prompts="messages",
    parse=parse,
    bounded=bounded,
    is_bounded=is_bounded,
    most=most,
    likely=likely,
    mend=read_answer,
    shaper=ChatStreamShaper,
    usage_event=_usage_event,
    fingerprints=_fingerprints,
    semantic_text=chat_text,
    answer_text=_text,
    is_complete=_is_complete,
    split=_split,
    merge=_merge,
    replay=replay,
    assembly=ChatAssembly,
    said_in=said_in,
    view=_view,
)
