"""Which request may be answered by meaning, and by the meaning of which text.

Everything else of a request must be equal; the one fuzzy text is its prompt, or what the last
message of its user says.
"""

from __future__ import annotations

from typing import Any

from app.openai.chat.request import ChatRequest
from app.openai.completions.request import CompletionRequest
from cache.answers.fingerprint import SHOWS_PROMPT

_NEVER = SHOWS_PROMPT | {"tools", "functions", "tool_choice", "function_call"}


def fuzzy_text(request: CompletionRequest) -> str | None:
    """What of this request may be compared by meaning; None where it must be met exactly."""
    document = request.document
    if request.n != 1 or request.best_of != 1 or request.logprobs is not None or request.echo:
        return None
    if "suffix" in document or not _NEVER.isdisjoint(document):
        return None
    if request.messages is not None:
        return _last_words(request.messages)
    if len(request.prompts) != 1 or not isinstance(request.prompts[0], str):
        return None
    return request.prompts[0]


def chat_text(request: ChatRequest) -> str | None:
    """What of a chat request may be compared by meaning: what its user says last.

    None where tools may be called, sounds or several choices are asked for, and wherever the
    conversation is more than text.
    """
    document = request.document
    if request.n != 1 or document.get("logprobs") or not _NEVER.isdisjoint(document):
        return None
    if "audio" in (document.get("modalities") or ()) or "prediction" in document:
        return None
    return _last_words(request.messages)


def _last_words(messages: list[dict[str, Any]]) -> str | None:
    *before, last = messages
    if last.get("role") != "user" or last.keys() - {"role", "content"}:
        return None
    if any(not _is_plain(message) for message in before):
        return None
    return _text_of(last.get("content"))


def _is_plain(message: dict[str, Any]) -> bool:
    """Whether a message is nothing but text: no tools, images or audio in play."""
    if message.get("role") in ("tool", "function") or message.get("tool_calls"):
        return False
    content = message.get("content")
    if isinstance(content, list):
        return all(isinstance(part, dict) and part.get("type") == "text" for part in content)
    return content is None or isinstance(content, str)


def _text_of(content: object) -> str | None:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and len(content) == 1:
        [part] = content
        if isinstance(part, dict) and part.keys() == {"type", "text"} and part["type"] == "text":
            text = part["text"]
            return text if isinstance(text, str) else None
    return None
