"""The ``usage`` of a clean answer, read with the rest of it in one go; others are read as in core."""

from __future__ import annotations

import msgspec

from app.core.usage import Usage, counted, credible


class _Prompt(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _Completion(msgspec.Struct):
    reasoning_tokens: int | None = None


class UsageMembers(msgspec.Struct):
    """As OpenAI has it, with DeepSeek's and Hugging Face's names for what was cached."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: _Prompt | None = None
    completion_tokens_details: _Completion | None = None
    prompt_cache_hit_tokens: int | None = None
    cached_tokens: int | None = None

    def read(self) -> Usage | None:
        """The same as ``read_usage`` finds; None where a count is not credible."""
        prompt, completion = self.prompt_tokens, self.completion_tokens
        if not (credible(prompt) and credible(completion)):
            return None
        asked, made = self.prompt_tokens_details, self.completion_tokens_details
        cached = self.prompt_cache_hit_tokens or self.cached_tokens or 0
        written = reasoning = 0
        if asked is not None:
            cached, written = asked.cached_tokens or cached, asked.cache_write_tokens or 0
        if made is not None:
            reasoning = made.reasoning_tokens or 0
        return counted(prompt, completion, self.total_tokens, cached, written, reasoning)
