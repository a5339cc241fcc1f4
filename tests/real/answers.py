"""Answers brought to one form, so that two of them can be compared for equality."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tests.real.wire import Answer

DONE = "[DONE]"


def plain(answer: Answer, *, leave: Iterable[str] = ("id", "created", "model")) -> Any:
    """A plain answer without what differs on every call."""
    body = answer.json()
    return {name: value for name, value in body.items() if name not in leave}


def folded(answer: Answer) -> dict[str, Any]:
    """A stream put together: its choices as a plain answer has them, the usage, and how it ended.

    Chunks are cut where the server's clock wants, so only their sum can be compared.
    """
    choices: dict[int, dict[str, Any]] = {}
    usage = None
    events = answer.events()
    for event in events:
        if event == DONE:
            continue
        chunk = json.loads(event)
        usage = chunk.get("usage") or usage
        for part in chunk.get("choices", ()):
            choice = choices.setdefault(part["index"], {"text": "", "finish_reason": []})
            _add(choice, part)
    return {
        "choices": [choices[index] for index in sorted(choices)],
        "usage": usage,
        "ended": bool(events) and events[-1] == DONE,
    }


def _add(choice: dict[str, Any], part: Mapping[str, Any]) -> None:
    choice["text"] += part["text"]
    if part.get("finish_reason") is not None:
        choice["finish_reason"].append(part["finish_reason"])
    for name, values in (part.get("logprobs") or {}).items():
        choice.setdefault("logprobs", {}).setdefault(name, []).extend(values or ())
    for name, value in part.items():
        if name in {"text", "finish_reason", "logprobs", "index"} or value is None:
            continue
        if isinstance(value, list):
            choice.setdefault(name, []).extend(value)
        else:
            choice[name] = value


def difference(one: Any, other: Any, path: str = "") -> str | None:
    """Where two JSON values first differ, exactly, or None. No tolerance for numbers."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in [*one, *(name for name in other if name not in one)]:
            if name not in one or name not in other:
                side = "gateway" if name not in one else "server"
                return f"{path}.{name} only from the {side}"
            if found := difference(one[name], other[name], f"{path}.{name}"):
                return found
        return None
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return f"{path}: {len(one)} entries directly, {len(other)} through the gateway"
        for place, (left, right) in enumerate(zip(one, other, strict=True)):
            if found := difference(left, right, f"{path}[{place}]"):
                return found
        return None
    if type(one) is not type(other) or one != other:
        return f"{path}: {one!r} directly, {other!r} through the gateway"
    return None
