"""The chat schema, as far as a completions request may carry it."""

from __future__ import annotations

from typing import Any

from app.core.errors import Problem
from app.openai.shown import showing

MAX_PROBLEMS = 16  # who sends thousands of wrong messages sees the rest the next time
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


# What stands for nothing, and so cannot be what an assistant says.
_SOMETHING: dict[str, Any] = {"not": {"enum": [None, False, 0, "", [], {}]}}
_PART: dict[str, Any] = {
    "type": "object",
    "properties": {"type": {"type": "string"}},
    "required": ["type"],
    "if": {"properties": {"type": {"const": "text"}}},
    "then": {"properties": {"text": {"type": "string"}}, "required": ["text"]},
}
_SAYS: dict[str, Any] = {
    "properties": {
        "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": _PART, "minItems": 1}]}
    },
    "required": ["content"],
}
_CALLS: list[dict[str, Any]] = [
    {
        "properties": {
            "role": {"const": "assistant"},
            "content": {"type": "null"},
            name: _SOMETHING,
        },
        "required": [name],
    }
    for name in ("tool_calls", "function_call")
]
_MESSAGES: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "properties": {"role": {"enum": sorted(_ROLES)}},
        "required": ["role"],
        "anyOf": [_SAYS, *_CALLS],
    },
}


@showing(_MESSAGES)
def messages_problems(messages: Any) -> list[Problem]:
    """Everything wrong with a ``messages`` member."""
    if type(messages) is not list or not messages:
        return [Problem("messages", "`messages` must be a list of at least one chat message.")]
    problems: list[Problem] = []
    for index, message in enumerate(messages):
        if len(problems) >= MAX_PROBLEMS:
            break
        place = f"messages[{index}]"
        if type(message) is not dict:
            problems.append(Problem(place, f"`{place}` must be an object."))
            continue
        role = message.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            allowed = ", ".join(sorted(_ROLES))
            problems.append(Problem(f"{place}.role", f"`{place}.role` must be one of {allowed}."))
        problem = _content_problem(message)
        if problem is not None:
            problems.append(Problem(f"{place}.content", f"`{place}.content` {problem}."))
    return problems


def _content_problem(message: dict[str, Any]) -> str | None:
    content = message.get("content")
    if type(content) is str:
        return None
    if content is None:
        speaks_otherwise = message.get("role") == "assistant" and (
            message.get("tool_calls") or message.get("function_call")
        )
        return None if speaks_otherwise else "is required: a string or a list of parts"
    if type(content) is not list or not content:
        return "must be a string or a list of parts"
    for part in content:
        if type(part) is not dict or type(part.get("type")) is not str:
            return "must hold only parts, objects with a `type`"
        if part["type"] == "text" and type(part.get("text")) is not str:
            return "has a text part without a string `text`"
    return None


def single_user_text(messages: list[dict[str, Any]]) -> str | None:
    """The text of a conversation that is one user message of text; None where it is more."""
    if len(messages) != 1 or messages[0].get("role") != "user":
        return None
    content = messages[0]["content"]
    if isinstance(content, str):
        return content
    if any(part["type"] != "text" for part in content):
        return None
    return "".join(part["text"] for part in content)


def has_remote_parts(messages: list[dict[str, Any]]) -> bool:
    """Whether a message points to something by its address. That may be another thing tomorrow."""
    return any(
        _is_remote(part)
        for message in messages
        if type(message.get("content")) is list
        for part in message["content"]
    )


def _is_remote(part: dict[str, Any]) -> bool:
    kind = part["type"]
    if not kind.endswith("_url"):
        return False
    said = part.get(kind)
    url = said.get("url") if isinstance(said, dict) else said
    return not (isinstance(url, str) and url[:5].lower() == "data:")
