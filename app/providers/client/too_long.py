"""Whether a refusal says that the prompt is longer than the model's context. Pure.

Most providers have no code for it, so it is told by the parameter, the type, or the words. Sources:
the providers' own error pages, and answers seen by users in public issues.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

STATUSES = frozenset({400, 413, 422, 429})

# vLLM says it by the parameter, llama.cpp's own server by the type, Cerebras and Groq by the code.
_SIGNS = frozenset({"input_tokens", "input_text", "exceed_context_size_error"})
_CODES = frozenset({"context_length_exceeded", "string_above_max_length"})

# By maker; one that repeats another's words stands with it.
_SAID = {
    "Anthropic": (r"prompt is too long", r"input length and `max_tokens` exceed context limit"),
    "Gemini": (r"input token count .{0,40}exceeds the maximum number of tokens",),
    "Bedrock": (
        r"input is too long for requested model",
        r"too many input tokens",
        r"input tokens exceeded",
    ),
    "Mistral": (r"too large for model with \d+ maximum context length",),
    "OpenAI, Azure, vLLM, DeepSeek, OpenRouter": (
        r"maximum context length (?:is|of)",
        r"reduce the length of the (?:messages|prompt|input)",
    ),
    "Fireworks, SGLang": (
        r"maximum context length: \d+",
        r"model's (?:maximum )?context (?:length|window)",
    ),
    "xAI": (r"maximum prompt length is \d+",),
    "Together": (r"`inputs` (?:must have less than|tokens \+ `max_new_tokens` must be)",),
    "llama.cpp, Ollama": (
        r"exceed(?:s|ed)? (?:the )?(?:available )?context (?:window|size|length)",
    ),
    "Cohere": (r"too many tokens: ",),
}
_WORDS = re.compile("|".join(word for words in _SAID.values() for word in words), re.IGNORECASE)


def too_long(status: int, code: str | None, signs: Iterable[object], message: str | None) -> bool:
    """Whether an error of this status, code and text is about the length of the prompt.

    ``signs`` are the values of its other members.
    """
    if status not in STATUSES:
        return False
    if code in _CODES or _SIGNS.intersection(sign for sign in signs if isinstance(sign, str)):
        return True
    if status == 429 or not message:
        return False  # a limit of tokens a minute speaks in the same words
    return _WORDS.search(message[:4000]) is not None
