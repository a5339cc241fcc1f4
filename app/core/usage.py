"""Token counts: what an upstream reported, or an estimate that says it is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import orjson

MAX_TOKENS = 1_000_000_000
_BYTES_PER_TOKEN = 4  # OpenAI's rule of thumb for English text


class Counts(Protocol):
    """Counts events for metrics."""

    def add(self, name: str, labels: Mapping[str, str], amount: int = 1) -> None: ...


class Usage(NamedTuple):
    """Tokens of one request. ``estimated`` is true where the upstream sent no count."""

    prompt_tokens: int
    completion_tokens: int
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def plus(self, other: Usage) -> Usage:
        """The sum of both; estimated where one of them is."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.estimated or other.estimated,
        )

    def document(self) -> dict[str, int]:
        """The wire's ``usage`` object."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
        }

    def over(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """The wire's ``usage`` object with what else the upstream says in it.

        Its total stays where it counts more: Gemini's compatible endpoint counts thoughts only there.
        """
        total = said.get("total_tokens")
        more = type(total) is int and self.total_tokens < total <= MAX_TOKENS
        return {**said, **self.document(), **({"total_tokens": total} if more else {})}


def usage_in(body: bytes) -> Usage | None:
    """What a body says that was used, though it may be no answer."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return read_usage(document.get("usage")) if isinstance(document, dict) else None


def read_usage(value: object) -> Usage | None:
    """The counts in an upstream's ``usage`` member, or None where there are none to trust."""
    if not isinstance(value, dict):
        return None
    prompt, completion = value.get("prompt_tokens"), value.get("completion_tokens", 0)
    if type(prompt) is not int or type(completion) is not int:
        return None
    return Usage(prompt, completion) if credible(prompt) and credible(completion) else None


def credible(count: int) -> bool:
    """Whether an upstream's count can be one: what is charged for it must stay exact."""
    return 0 <= count <= MAX_TOKENS


def estimate_text(text: str) -> int:
    """Tokens in a text, within the error of a rule of thumb; O(1) beside the text itself."""
    return estimate_bytes(len(text) if text.isascii() else len(text.encode()))


def estimate_bytes(size: int) -> int:
    """Tokens in ``size`` bytes of text."""
    return -(-size // _BYTES_PER_TOKEN)


def estimate_prompts(prompts: list[Any]) -> int:
    """Prompt tokens: exact for token ids, estimated for text."""
    return sum(
        estimate_text(prompt) if isinstance(prompt, str) else len(prompt) for prompt in prompts
    )
