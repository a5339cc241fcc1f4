"""Looking into answers and chunks, for the layers' rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app.core.family import Said
from app.guardrails.texts.retold import without
from app.guardrails.texts.walk import Text, param_of
from app.openai.said import put

SaidIn = Callable[[Mapping[str, Any]], list[Said]]


def text_of(said: Said) -> Text:
    where = ("choices", said.choice, *said.path) if said.choice is not None else said.path
    return Text(where, said.text, said.json)


def param_of_said(said: Said) -> str:
    return param_of(text_of(said).path)


def holders(document: Mapping[str, Any]) -> list[tuple[Any, int | None]]:
    """The choices of an answer with their numbers, and the answer itself."""
    choices = document.get("choices") or ()
    return [*((c, c.get("index", 0)) for c in choices if isinstance(c, dict)), (document, None)]


def ended_in(document: Mapping[str, Any]) -> list[int]:
    """The choices that say how they ended."""
    return [
        choice.get("index", 0)
        for choice in document.get("choices") or ()
        if isinstance(choice, dict) and choice.get("finish_reason") is not None
    ]


def text_at(document: Mapping[str, Any], said: Said, said_in: SaidIn) -> str:
    for one in said_in(document):
        if (one.choice, one.path) == (said.choice, said.path):
            return one.text
    return ""


def is_bare(document: Mapping[str, Any], said_in: SaidIn) -> bool:
    """Whether a chunk has nothing but empty texts: no role, no tool's name, no usage."""
    if document.get("usage") or any(one.text for one in said_in(document)):
        return False
    for choice in document.get("choices") or ():
        delta = choice.get("delta")
        if choice.get("logprobs") or (isinstance(delta, dict) and _names_something(delta)):
            return False
    return True


def _names_something(delta: Mapping[str, Any]) -> bool:
    if delta.get("role"):
        return True
    calls = delta.get("tool_calls") or ()
    return any(isinstance(call, dict) and call.get("id") for call in calls)


def blank(document: dict[str, Any], choice: int | None, said_in: SaidIn) -> dict[str, Any]:
    """A chunk of one choice that says nothing yet, with the envelope of another."""
    document["choices"] = [
        one for one in document.get("choices") or () if one.get("index", 0) == choice
    ]
    for one in said_in(document):
        put(document, one, "")
    for holder, _ in holders(document):
        without(holder)
    return document
