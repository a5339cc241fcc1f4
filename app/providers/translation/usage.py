"""What providers say of tokens, merged and in the OpenAI API's words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merge(known: dict[str, Any], said: object) -> None:
    """Take what a provider says now of one call: the last word on each field, never a sum.

    Streams restate their counts, and may leave one out that they gave before.
    """
    if isinstance(said, Mapping):
        known.update({name: value for name, value in said.items() if value is not None})


def count(said: Mapping[str, Any], name: str) -> int:
    """One count; 0 where there is none."""
    value = said.get(name)
    return value if type(value) is int and value >= 0 else 0


def usage_document(
    prompt: int, completion: int, *, cached: int = 0, written: int = 0, reasoning: int = 0
) -> dict[str, Any]:
    """The wire's ``usage``: ``cached`` and ``written`` tokens of the prompt went from and to the
    provider's prompt cache, ``reasoning`` tokens of the completion were thoughts. All are contained
    in ``prompt`` and ``completion``."""
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if cached or written:
        usage["prompt_tokens_details"] = {"cached_tokens": cached, "cache_write_tokens": written}
    if reasoning:
        usage["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return usage
