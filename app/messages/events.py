"""A streamed chat answer as the events of a message. Pure.

Source: https://docs.anthropic.com/en/api/messages-streaming. Blocks follow one another; each is closed
when the next begins. A server that goes back to an earlier tool call writes on into its block, by
which readers tell pieces apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from app.core.errors import GatewayError
from app.core.reply import Chunk, StreamEnd
from app.core.usage import NOTHING
from app.messages.answer import ending, envelope, error_body, usage_of
from app.openai.chat.request import ChatRequest

_PING = b'event: ping\ndata: {"type":"ping"}\n\n'


class MessageEvents:
    """Encodes one stream for one caller; ``request_id`` is told with an error."""

    __slots__ = ("_calls", "_count", "_last", "_open", "_request", "_request_id", "_started")

    def __init__(self, request: ChatRequest, request_id: str) -> None:
        self._request = request
        self._request_id = request_id
        self._started = False
        self._open: tuple[str, int] | None = None  # what kind of block, and its index
        self._count = 0
        self._calls: dict[int, int] = {}  # the block of each tool call
        self._last: Mapping[str, Any] = {}  # the choice that said why it ended

    def events(self, chunks: Sequence[Chunk]) -> bytes:
        """What some chunks come to."""
        written: list[bytes] = []
        for chunk in chunks:
            document = chunk.document
            if not self._started:
                written += self._start(document)
            for choice in document["choices"]:
                self._take(choice["delta"], written)
                if choice.get("finish_reason"):
                    self._last = choice
        return b"".join(written)

    def end(self, end: StreamEnd) -> bytes:
        """The end of a whole stream."""
        written = [] if self._started else self._start({"id": "", "model": self._request.model})
        self._close(written)
        reason = ending(self._last, self._request, called=bool(self._calls))
        usage = usage_of(end.usage)
        written.append(_event("message_delta", {"delta": reason, "usage": usage}))
        written.append(_event("message_stop", {}))
        return b"".join(written)

    def error(self, error: GatewayError) -> bytes:
        """What broke the stream off."""
        body = error_body(error.envelope(), error.status, self._request_id)
        return b"event: error\ndata: %b\n\n" % body

    def _start(self, document: Mapping[str, Any]) -> list[bytes]:
        """The head. What was used is known at the end, and stands in the last ``message_delta``."""
        self._started = True
        head = envelope(document) | {
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_of(NOTHING),
        }
        return [_event("message_start", {"message": head}), _PING]

    def _take(self, delta: Mapping[str, Any], written: list[bytes]) -> None:
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if thought:
            block = {"type": "thinking", "thinking": "", "signature": ""}
            index = self._in("thinking", block, written)
            written.append(_delta(index, {"type": "thinking_delta", "thinking": thought}))
        for detail in delta.get("reasoning_details") or ():
            self._detail(detail, written)
        for name in ("content", "refusal"):
            if delta.get(name):
                index = self._in("text", {"type": "text", "text": ""}, written)
                written.append(_delta(index, {"type": "text_delta", "text": delta[name]}))
        for call in delta.get("tool_calls") or ():
            self._call(call, written)

    def _detail(self, detail: Any, written: list[bytes]) -> None:
        """A signature goes to the thought that was told; what is encrypted is a block of its own."""
        kind = detail.get("type") if isinstance(detail, dict) else None
        if kind == "reasoning.encrypted" and detail.get("data"):
            self._close(written)
            self._begin("redacted", {"type": "redacted_thinking", "data": detail["data"]}, written)
            self._close(written)
        elif kind == "reasoning.text" and detail.get("signature"):
            block = {"type": "thinking", "thinking": "", "signature": ""}
            index = self._in("thinking", block, written)
            signed = {"type": "signature_delta", "signature": detail["signature"]}
            written.append(_delta(index, signed))
            self._close(written)

    def _call(self, call: Mapping[str, Any], written: list[bytes]) -> None:
        function = call.get("function") or {}
        index = self._calls.get(call["index"])
        if index is None:
            self._close(written)
            block = {"type": "tool_use", "id": call.get("id"), "name": function.get("name")}
            index = self._begin("tool_use", block | {"input": {}}, written)
            self._calls[call["index"]] = index
        if function.get("arguments"):
            piece = {"type": "input_json_delta", "partial_json": function["arguments"]}
            written.append(_delta(index, piece))

    def _in(self, kind: str, block: dict[str, Any], written: list[bytes]) -> int:
        """The index of the block of this kind that is open, or of a new one."""
        if self._open is not None and self._open[0] == kind:
            return self._open[1]
        self._close(written)
        return self._begin(kind, block, written)

    def _begin(self, kind: str, block: dict[str, Any], written: list[bytes]) -> int:
        index = self._count
        self._count += 1
        self._open = kind, index
        start = {"index": index, "content_block": block}
        written.append(_event("content_block_start", start))
        return index

    def _close(self, written: list[bytes]) -> None:
        if self._open is not None:
            written.append(_event("content_block_stop", {"index": self._open[1]}))
            self._open = None


def _delta(index: int, delta: dict[str, Any]) -> bytes:
    return _event("content_block_delta", {"index": index, "delta": delta})


def _event(name: str, members: dict[str, Any]) -> bytes:
    payload = orjson.dumps({"type": name} | members)
    return b"event: %b\ndata: %b\n\n" % (name.encode(), payload)
