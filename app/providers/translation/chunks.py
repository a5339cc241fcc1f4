"""Chat answers and chunks of our own making, from what a translation read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson


def arguments_text(arguments: object) -> str:
    """A tool call's arguments as the wire has them: JSON in a string."""
    return orjson.dumps(arguments if arguments is not None else {}).decode()


def tool_call(
    call_id: str, name: str, arguments: str, signature: str = "", index: int | None = None
) -> dict[str, Any]:
    """One whole tool call; ``index`` only in a stream. ``signature`` is what the provider asks back."""
    call: dict[str, Any] = {} if index is None else {"index": index}
    call |= {
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }
    if signature:
        call["extra_content"] = {"google": {"thought_signature": signature}}
    return call


def chat_answer(
    answer_id: str,
    model: str,
    created: int,
    choices: list[tuple[dict[str, Any], str, Any]],
    usage: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """A chat completion of (message, finish reason, logprobs) in index order."""
    document: dict[str, Any] = {
        "id": f"chatcmpl-{answer_id}",
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [
            {"index": index, "message": message, "logprobs": logprobs, "finish_reason": reason}
            for index, (message, reason, logprobs) in enumerate(choices)
        ],
    }
    if usage is not None:
        document["usage"] = dict(usage)
    return document


class Message:
    """Adds up what one choice says, in the shape of a chat message."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._members: dict[str, list[Any]] = {}

    def text(self, text: str) -> None:
        self._texts.append(text)

    def thought(self, text: str) -> None:
        self._thoughts.append(text)

    def add(self, member: str, value: Any) -> None:
        """One more item of a list: ``tool_calls``, ``reasoning_details``, ``images``."""
        self._members.setdefault(member, []).append(value)

    def count(self, member: str) -> int:
        """How many items a list has so far."""
        return len(self._members.get(member, ()))

    @property
    def calls(self) -> bool:
        """Whether the caller is asked to run a tool."""
        return "tool_calls" in self._members

    def document(self) -> dict[str, Any]:
        content = "".join(self._texts) if self._texts or not self.calls else None
        message: dict[str, Any] = {"role": "assistant", "content": content}
        if self._thoughts:
            message["reasoning_content"] = "".join(self._thoughts)
        return message | self._members


class ChunkWriter:
    """Makes the chunks of one stream: the same id and model on each, the role on each choice's first."""

    def __init__(self, model: str, created: int) -> None:
        self.id = ""
        self.model = model
        self._created = created
        self._spoken: set[int] = set()

    def delta(self, delta: dict[str, Any], index: int = 0, logprobs: Any = None) -> dict[str, Any]:
        """A chunk that says something in one choice."""
        return self._chunk(index, delta, None, logprobs)

    def finish(self, reason: str, index: int = 0) -> dict[str, Any]:
        """The chunk that ends one choice."""
        return self._chunk(index, {}, reason, None)

    def usage(self, usage: Mapping[str, Any]) -> dict[str, Any]:
        """The chunk after the last: what was used."""
        return self._envelope([]) | {"usage": dict(usage)}

    def _chunk(
        self, index: int, delta: dict[str, Any], reason: str | None, logprobs: Any
    ) -> dict[str, Any]:
        if index not in self._spoken:
            self._spoken.add(index)
            delta = {"role": "assistant", "content": ""} | delta
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return self._envelope([choice])

    def _envelope(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.id}",
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self.model,
            "choices": choices,
        }
