"""What of a message's text an operator declared volatile, taken out before messages are compared."""

from __future__ import annotations

from typing import Any

from app.config.values.patterns import Patterns


def without_ignored(message: Any, ignore: Patterns) -> Any:
    """A message, as it was decoded, without what does not count of its text."""
    if type(message) is not dict:
        return message
    content = message.get("content")
    if isinstance(content, str):
        return message | {"content": ignore.without(content)}
    if isinstance(content, list):
        return message | {"content": [_of_part(part, ignore) for part in content]}
    return message


def _of_part(part: Any, ignore: Patterns) -> Any:
    if type(part) is dict and isinstance(text := part.get("text"), str):
        return part | {"text": ignore.without(text)}
    return part
