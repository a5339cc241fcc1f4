"""The deltas of one choice joined to its message. Pure.

Texts go on, tool calls go on under their index, lists get longer; any other member may only be
repeated or come late.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from app.core.family import NotAssembled
from app.openai.chat.answer import TEXTS

_TEXTS = frozenset(TEXTS)
_INDEXED_TEXTS = frozenset({"text", "summary", "data"})


class Message:
    """One choice's message, as far as it has come."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._calls: dict[int, dict[str, Any]] = {}
        self._arguments: dict[int, list[str]] = {}
        self._called: dict[str, Any] | None = None
        self._sounds: list[bytes] = []
        self._audio: dict[str, Any] = {}
        self._details: dict[tuple[int, Any], dict[str, Any]] = {}
        self._others: dict[str, Any] = {}

    def add(self, delta: Mapping[str, Any]) -> None:
        """Raises NotAssembled where that cannot be done without guessing."""
        for name, value in delta.items():
            if name == "role" or value is None:
                continue
            if name in _TEXTS:
                self._texts.setdefault(name, []).append(value)
            elif name == "tool_calls":
                for call in value:
                    self._add_call(call)
            elif name == "function_call":
                self._add_called(value)
            elif name == "audio":
                self._add_audio(value)
            elif name == "reasoning_details":
                self._add_details(value)
            else:
                self._others[name] = continued(self._others.get(name), value)

    def whole(self) -> dict[str, Any]:
        """The message as a plain answer has it."""
        texts = {name: "".join(pieces) for name, pieces in self._texts.items()}
        message: dict[str, Any] = {
            "role": "assistant",
            "content": texts.pop("content", None),
            "refusal": texts.pop("refusal", None),
            **texts,
            **self._others,
        }
        said_elsewhere = self._calls or self._called or self._audio or message["refusal"]
        if said_elsewhere and message["content"] == "":
            message["content"] = None
        if self._details:
            message["reasoning_details"] = list(self._details.values())
        if self._calls:
            message["tool_calls"] = [self._call(index) for index in sorted(self._calls)]
        if self._called:
            message["function_call"] = self._called
        if self._audio:
            message["audio"] = {**self._audio, "data": base64.b64encode(b"".join(self._sounds))}
            message["audio"]["data"] = message["audio"]["data"].decode()
        return message

    def _add_call(self, call: Mapping[str, Any]) -> None:
        index = call["index"]
        known = self._calls.setdefault(index, {})
        pieces = self._arguments.setdefault(index, [])
        for name, value in call.items():
            if name in ("function", "custom") and isinstance(value, dict):
                said = known.setdefault(name, {})
                for member, one in value.items():
                    if member in ("arguments", "input"):
                        pieces.append(one or "")
                        said[member] = ""
                    else:
                        said[member] = continued(said.get(member), one)
            elif name != "index":
                known[name] = continued(known.get(name), value)

    def _call(self, index: int) -> dict[str, Any]:
        call = self._calls[index]
        kind = "custom" if "custom" in call else "function"
        said = call.get(kind)
        if not isinstance(said, dict) or not call.get("id") or not said.get("name"):
            raise NotAssembled
        said["input" if kind == "custom" else "arguments"] = "".join(self._arguments[index])
        return call

    def _add_called(self, called: Mapping[str, Any]) -> None:
        known = self._called = self._called or {"name": "", "arguments": ""}
        for name in known:
            known[name] += called.get(name) or ""

    def _add_audio(self, audio: Mapping[str, Any]) -> None:
        for name, value in audio.items():
            if name == "data":
                try:
                    self._sounds.append(base64.b64decode(value, validate=True))
                except (binascii.Error, TypeError):
                    raise NotAssembled from None
            elif name == "transcript":
                self._audio[name] = self._audio.get(name, "") + value
            else:
                self._audio[name] = continued(self._audio.get(name), value)

    def _add_details(self, details: Any) -> None:
        """OpenRouter's reasoning, block by block: a block goes on under its index and type."""
        for detail in details:
            if not isinstance(detail, dict):
                raise NotAssembled
            place = detail.get("index", 0), detail.get("type")
            known = self._details.setdefault(place, {})
            for name, value in detail.items():
                if name in _INDEXED_TEXTS and isinstance(known.get(name), str):
                    known[name] += value
                elif value is not None or name not in known:
                    known[name] = value


def continued(known: Any, more: Any) -> Any:
    """A member as it stands after one more chunk: lists go on, anything else may only be repeated
    or come late. Raises NotAssembled."""
    if more is None or known is None:
        return known if more is None else _own(more)
    if isinstance(known, list) and isinstance(more, list):
        known += more  # in place: a new list each time would be a square of the tokens
        return known
    if known != more or isinstance(more, Mapping):
        raise NotAssembled
    return more


def joined_logprobs(known: dict[str, Any] | None, more: dict[str, Any]) -> dict[str, Any]:
    """Log-probabilities of a text and of what follows it."""
    if known is None:
        return {name: _own(value) for name, value in more.items()}
    for name, value in more.items():
        known[name] = continued(known.get(name), value)
    return known


def _own(value: Any) -> Any:
    """A list that can be added to."""
    return list(value) if isinstance(value, list) else value
