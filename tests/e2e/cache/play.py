"""An upstream whose every word is held by a gate, so that a test says when it is spoken."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from tests.harness.exchange import Gate, Request, Wire, head
from tests.harness.upstream import Upstream

WORDS = 12  # tokens of every choice


class Act(NamedTuple):
    """How one call goes: at which words it waits for its gate, and where it breaks.

    ``cut`` is the number of words after which the connection is reset; ``status`` is an error's.
    ``text`` stands in place of the label of each prompt; ``step`` is words in one event.
    """

    holds: frozenset[int] = frozenset()
    cut: int | None = None
    status: int = 200
    text: str | None = None
    size: int = 0  # characters that each word is filled up to
    words: int = WORDS
    step: int = 1


def held(*places: int, **more: Any) -> Act:
    return Act(frozenset(places), **more)


class Play:
    """What the upstream's model `up` does, call after call; the last act goes on for ever."""

    def __init__(self, upstream: Upstream, *acts: Act) -> None:
        self._upstream = upstream
        self._acts = acts or (Act(),)
        self._gates: dict[tuple[int, int], Gate] = {
            (number, place): upstream.gate()
            for number, act in enumerate(self._acts)
            for place in act.holds
        }
        self.calls: list[Request] = []
        self.began: list[float] = []  # time.perf_counter()
        self.said: list[tuple[int, float]] = []  # word of the first call, and when
        upstream.on("up", self._script)

    @property
    def count(self) -> int:
        return len(self.calls)

    def open(self, call: int = 0, place: int = 0) -> None:
        self._gates[call, place].open()

    def left(self, call: int = 0) -> threading.Event:
        """Set once the gateway has closed the connection of a call."""
        return self.calls[call].connection.closed

    async def _script(self, request: Request, wire: Wire) -> None:
        number = len(self.calls)
        self.calls.append(request)
        self.began.append(time.perf_counter())
        place = min(number, len(self._acts) - 1)
        act = self._acts[place]
        if act.status != 200:
            await self._pass(place, 0)
            await wire.answer({"error": {"message": "out of order"}}, act.status)
        elif request.document.get("stream"):
            await self._stream(request, wire, act, place, number)
        else:
            await self._whole(request, wire, act, place, number)

    async def _pass(self, call: int, place: int) -> None:
        gate = self._gates.get((call, place))
        if gate is not None:
            await gate.wait()

    async def _whole(self, request: Request, wire: Wire, act: Act, place: int, number: int) -> None:
        for word in range(act.words):
            await self._pass(place, word)
            if word == act.cut:
                wire.reset()
                return
        prompts = prompts_of(request.document)
        choices = [
            {
                "index": index,
                "text": text_of(prompt, act),
                "logprobs": None,
                "finish_reason": "stop",
            }
            for index, prompt in enumerate(prompts)
        ]
        await wire.answer(envelope(number) | {"choices": choices, "usage": usage_of(prompts, act)})

    async def _stream(
        self, request: Request, wire: Wire, act: Act, place: int, number: int
    ) -> None:
        prompts = prompts_of(request.document)
        options = request.document.get("stream_options") or {}
        assert options.get("include_usage") is True  # the gateway always asks
        chunk = envelope(number) | {"usage": None}
        for word in range(0, act.words, act.step):
            await self._pass(place, word)
            if word == 0:
                fields = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]
                await wire.send(head(200, fields, kind=None))
            if word == act.cut:
                wire.reset()
                return
            events = []
            for index, prompt in enumerate(prompts):
                text = "".join(words_of(prompt, act)[word : word + act.step])
                last = "stop" if word + act.step >= act.words else None
                choice = {"index": index, "text": text, "logprobs": None, "finish_reason": last}
                events.append(event(chunk | {"choices": [choice]}))
            if number == 0:
                self.said.append((word, time.perf_counter()))
            await wire.packet(b"".join(events))
        await wire.event(chunk | {"choices": [], "usage": usage_of(prompts, act)})
        await wire.event(b"[DONE]")
        await wire.end_stream()


def event(document: Any) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def envelope(number: int) -> dict[str, Any]:
    body = {"id": f"cmpl-{number}", "object": "text_completion", "created": 1700000000 + number}
    return body | {"model": "up"}


def prompts_of(document: dict[str, Any]) -> list[str]:
    prompt = document["prompt"]
    return [prompt] if isinstance(prompt, str) else prompt


def words_of(prompt: str, act: Act = Act()) -> list[str]:  # noqa: B008 - a value
    label = act.text or f"<{prompt}>"
    words = [label, *(f" word{number}" for number in range(1, act.words))]
    return [word + "." * (act.size - len(word)) for word in words]


def text_of(prompt: str, act: Act = Act()) -> str:  # noqa: B008 - a value
    return "".join(words_of(prompt, act))


def usage_of(prompts: Sequence[str], act: Act) -> dict[str, int]:
    prompt, completion = 7 * len(prompts), act.words * len(prompts)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
