"""What one part of a message that is not text counts as, in tokens."""

from __future__ import annotations

from typing import NamedTuple


class PartTokens(NamedTuple):
    """Tokens by kind; the defaults are at least what the large providers charge for one.

    Images: OpenAI's gpt-4o-mini takes 2,833 tokens and 5,667 for each of at most eight tiles, which
    is 48,169 (detail ``low``: 2,833); Anthropic takes at most 4,784 and Gemini 4,128 whatever the
    detail (OpenAI "Images and vision", Anthropic "Vision", Gemini "Token counting"). Sound: Gemini
    takes 32 tokens a second, so that 50,000 are 26 minutes. Video: the largest context there is.
    File: 1,000 pages of 258 tokens (Gemini), or 100 pages of 3,000 (Anthropic "PDF support").
    """

    image_low: int = 5_000
    image_high: int = 50_000
    image_auto: int = 50_000
    audio: int = 50_000
    video: int = 1_000_000
    file: int = 300_000
    other: int = 50_000


DEFAULT_PART_TOKENS = PartTokens()
