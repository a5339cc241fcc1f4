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
    """Tokens of one request. ``estimated`` is true where the upstream sent no count.

    Of the prompt, ``cached_tokens`` were read from the provider's prompt cache and
    ``cache_write_tokens`` written to it. ``reasoning_tokens`` are thoughts: those of the completion,
    and ``uncounted_tokens``, which some providers count in the total alone.
    """

    prompt_tokens: int
    completion_tokens: int
    estimated: bool = False
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    uncounted_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens + self.uncounted_tokens

    def plus(self, other: Usage) -> Usage:
        """The sum of both; estimated where one of them is."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.estimated or other.estimated,
            self.cached_tokens + other.cached_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.uncounted_tokens + other.uncounted_tokens,
        )

    def document(self) -> dict[str, int]:
        """The wire's ``usage`` object."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
        }

    def over(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """The wire's ``usage`` object with what else the upstream says in it."""
        return {**said, **self.document()}


NOTHING = Usage(0, 0)


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
    if not (credible(prompt) and credible(completion)):
        return None
    asked, made = value.get("prompt_tokens_details"), value.get("completion_tokens_details")
    cached = _first_count(
        (asked, "cached_tokens"), (value, "prompt_cache_hit_tokens"), (value, "cached_tokens")
    )
    written = _first_count((asked, "cache_write_tokens"))
    reasoning = _first_count((made, "reasoning_tokens"))
    return counted(
        prompt, completion, _first_count((value, "total_tokens")), cached, written, reasoning
    )


def counted(
    prompt: int, completion: int, total: int, cached: int, written: int, reasoning: int
) -> Usage:
    """Usage of credible counts, in which no token stands twice.

    A ``total`` above prompt and completion holds thoughts that are in neither: xAI's, and those of
    Gemini's compatible endpoint.
    """
    more = total - prompt - completion if total <= MAX_TOKENS else 0
    if more <= 0 and not (cached or written or reasoning):
        return Usage(prompt, completion)
    uncounted = max(0, more)
    cached = max(0, min(cached, prompt))
    written = max(0, min(written, prompt - cached))
    # OpenRouter may say more thoughts than tokens of the completion, as they are counted apart.
    reasoning = max(uncounted, min(reasoning, completion + uncounted))
    return Usage(prompt, completion, False, cached, written, reasoning, uncounted)


def _first_count(*places: tuple[object, str]) -> int:
    """The first count that a provider gives, under its own name; 0 where there is none."""
    for said, name in places:
        found = said.get(name) if isinstance(said, dict) else None
        if type(found) is int and found:
            return found
    return 0


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
