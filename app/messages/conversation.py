"""The turns of a Messages request as chat messages. Pure.

Source: https://docs.anthropic.com/en/api/messages. Marks of the prompt cache and signed thoughts stay
on the messages for providers that know them; ``for_any_server`` takes them off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from app.core.errors import Problem
from app.openai.validators import problem_at

ChatMessage = dict[str, Any]
Part = dict[str, Any]

THOUGHT_FORMAT = "anthropic-claude-v1"  # OpenRouter's name for signed thoughts
_MARK = "cache_control"


class Turns:
    """Collects the chat messages of one request, and what is wrong with it."""

    def __init__(self) -> None:
        self.messages: list[ChatMessage] = []
        self.problems: list[Problem] = []

    def system(self, value: Any, place: str = "system") -> None:
        """The instructions: a string, or a list of text blocks."""
        parts = [self._text(block, where) for block, where in self._blocks(value, place)]
        self._say("system", [part for part in parts if part is not None])

    def take(self, messages: Any) -> None:
        """Every turn, in order."""
        if type(messages) is not list or not messages:
            self.wrong("messages", "must be a list of at least one message")
            return
        for index, message in enumerate(messages):
            place = f"messages[{index}]"
            role = message.get("role") if type(message) is dict else None
            if role == "user":
                self._user(message.get("content"), f"{place}.content")
            elif role == "assistant":
                self._assistant(message.get("content"), f"{place}.content")
            elif role == "system":
                self.system(message.get("content"), f"{place}.content")
            else:
                self.wrong(f"{place}.role", "must be one of user, assistant, system")

    def wrong(self, place: str, why: str) -> None:
        self.problems.append(problem_at(place, why))

    def _say(self, role: str, parts: list[Part], **more: Any) -> None:
        """One message; a single text without a mark stands alone, as every server takes it."""
        content: Any = parts
        if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
            content = parts[0]["text"]
        if parts or more:
            self.messages.append({"role": role, "content": content or None} | more)

    def _blocks(self, content: Any, place: str) -> Iterator[tuple[dict[str, Any], str]]:
        if type(content) is str:
            yield {"type": "text", "text": content}, place
        elif type(content) is not list:
            self.wrong(place, "is required: a string or a list of blocks")
        else:
            for index, block in enumerate(content):
                where = f"{place}[{index}]"
                if type(block) is dict and type(block.get("type")) is str:
                    yield block, where
                else:
                    self.wrong(where, "must be a block: an object with a `type`")

    def _user(self, content: Any, place: str) -> None:
        """Results of tools stand before what else is said: each is a message that answers a call."""
        parts: list[Part] = []
        for block, where in self._blocks(content, place):
            if block["type"] == "tool_result":
                self._result(block, where)
            else:
                parts += self._part(block, where)
        self._say("user", parts)

    def _result(self, block: dict[str, Any], place: str) -> None:
        if type(block.get("tool_use_id")) is not str:
            self.wrong(f"{place}.tool_use_id", "is required: the id of a tool_use block")
        parts: list[Part] = []
        if block.get("content") is not None:
            for inner, where in self._blocks(block["content"], f"{place}.content"):
                parts += self._part(inner, where)
        texts = [part for part in parts if part["type"] == "text"]
        content: Any = parts
        if len(texts) == len(parts):
            content = "".join(part["text"] for part in texts)
        call = {"tool_call_id": block.get("tool_use_id")}
        self.messages.append({"role": "tool", "content": content} | call)

    def _part(self, block: dict[str, Any], place: str) -> list[Part]:
        kind = block["type"]
        if kind == "text":
            text = self._text(block, place)
            return [] if text is None else [text]
        if kind == "image":
            return self._image(block.get("source"), f"{place}.source")
        if kind == "document":
            return self._document(block, f"{place}.source")
        self.wrong(f"{place}.type", f"cannot be {kind[:64]} here")
        return []

    def _text(self, block: dict[str, Any], place: str) -> Part | None:
        if block["type"] != "text" or type(block.get("text")) is not str:
            self.wrong(place, "must be a text block with a `text`")
            return None
        part: Part = {"type": "text", "text": block["text"]}
        return part | {_MARK: block[_MARK]} if block.get(_MARK) else part

    def _image(self, source: Any, place: str) -> list[Part]:
        kind = source.get("type") if type(source) is dict else None
        if kind == "url" and type(source.get("url")) is str:
            return [{"type": "image_url", "image_url": {"url": source["url"]}}]
        data = _data_url(source) if kind == "base64" else None
        if data is None:
            self.wrong(place, "must be a source of the type base64 or url")
            return []
        return [{"type": "image_url", "image_url": {"url": data}}]

    def _document(self, block: dict[str, Any], place: str) -> list[Part]:
        source = block.get("source") or {}
        kind = source.get("type") if type(source) is dict else None
        if kind == "text" and type(source.get("data")) is str:
            return [{"type": "text", "text": source["data"]}]
        data = _data_url(source) if kind == "base64" else None
        if data is None:
            self.wrong(place, "must be a source of the type base64 or text")
            return []
        title = block.get("title")
        name = title if type(title) is str and title else "document"
        return [{"type": "file", "file": {"filename": name, "file_data": data}}]

    def _assistant(self, content: Any, place: str) -> None:
        parts: list[Part] = []
        calls: list[dict[str, Any]] = []
        thoughts: list[dict[str, Any]] = []
        for block, where in self._blocks(content, place):
            kind = block["type"]
            if kind == "text":
                text = self._text(block, where)
                parts += [text] if text is not None else []
            elif kind == "tool_use":
                calls += self._call(block, where)
            elif kind in ("thinking", "redacted_thinking"):
                thoughts += _thought(block, len(thoughts))
            else:
                self.wrong(
                    f"{where}.type", f"cannot be {kind[:64]} in a message of the assistant's"
                )
        more: dict[str, Any] = {}
        if calls:
            more["tool_calls"] = calls
        if thoughts:
            more["reasoning_details"] = thoughts
        if not calls and not any(part["text"] for part in parts):
            parts = [{"type": "text", "text": ""}]
        if all(part.keys() == {"type", "text"} for part in parts):
            joined = "".join(part["text"] for part in parts)
            self.messages.append({"role": "assistant", "content": joined or None} | more)
            if not calls:
                self.messages[-1]["content"] = joined
        else:
            self._say("assistant", parts, **more)

    def _call(self, block: dict[str, Any], place: str) -> list[dict[str, Any]]:
        call_id, name, given = block.get("id"), block.get("name"), block.get("input")
        if type(call_id) is not str or type(name) is not str or type(given) is not dict:
            self.wrong(place, "must have an `id`, a `name` and an object as `input`")
            return []
        function = {"name": name, "arguments": orjson.dumps(given).decode()}
        return [{"id": call_id, "type": "function", "function": function}]


def for_any_server(messages: list[ChatMessage]) -> list[ChatMessage]:
    """The same conversation in OpenAI's words alone, for a server that may refuse others.

    Pictures in a tool's result go into a message of the user's after the results, because OpenAI
    takes text alone there.
    """
    plain: list[ChatMessage] = []
    waiting: list[Part] = []
    for message in messages:
        if waiting and message["role"] != "tool":
            plain.append({"role": "user", "content": waiting})
            waiting = []
        said = {name: value for name, value in message.items() if name != "reasoning_details"}
        content = said["content"]
        if type(content) is list:
            parts = [{name: part[name] for name in part if name != _MARK} for part in content]
            if said["role"] == "tool":
                waiting += [part for part in parts if part["type"] != "text"]
                parts = [part for part in parts if part["type"] == "text"]
                said["content"] = "".join(part["text"] for part in parts)
            else:
                said["content"] = parts
        plain.append(said)
    return [*plain, {"role": "user", "content": waiting}] if waiting else plain


def _data_url(source: Any) -> str | None:
    media, data = source.get("media_type"), source.get("data")
    if type(media) is not str or type(data) is not str:
        return None
    return f"data:{media};base64,{data}"


def _thought(block: Mapping[str, Any], index: int) -> list[dict[str, Any]]:
    """A thought that can be proved to its provider; any other is of no use to it."""
    detail: dict[str, Any] = {"index": index, "format": THOUGHT_FORMAT}
    if block["type"] == "redacted_thinking":
        return [detail | {"type": "reasoning.encrypted", "data": block.get("data")}]
    if not block.get("signature"):
        return []
    signed = {"text": block.get("thinking") or "", "signature": block["signature"]}
    return [detail | {"type": "reasoning.text"} | signed]
