"""The inner chain without a socket: calls, a writer that records, a handler that answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import orjson

from app.core.call import Call, Handler
from app.core.errors import GatewayError, HeaderList, UpstreamError
from app.core.exchange import Exchange
from app.core.family import Family
from app.core.keys import Key
from app.core.reply import Answer, Chunk, Origin, ReplyWriter, StreamEnd
from app.core.usage import Usage
from app.openai.completions.request import CompletionRequest
from app.routes.completions import COMPLETIONS
from cache.store.base import Script, StoreUnavailable
from cache.store.embedded import EmbeddedStore
from middleware.http import Http

ALIAS = "house"
KEY = Key("web", "acme", (), frozenset({"completions"}), frozenset({ALIAS}), None)
ORIGIN = Origin("up", "m-1-served", ("up", "m-1"))  # who answers in all that follows
USAGE = Usage(3, 2)


def in_loop(body: Callable[[], Coroutine[Any, Any, Any]], seconds: float = 5.0) -> Any:
    """What ``body`` returns, within a time."""

    async def bounded() -> Any:
        async with asyncio.timeout(seconds):
            return await body()

    return asyncio.run(bounded())


async def turns(count: int = 10) -> None:
    """Let everybody go as far as they can."""
    for _ in range(count):
        await asyncio.sleep(0)


def request_of(**members: Any) -> CompletionRequest:
    whole = {"model": ALIAS, "prompt": "p", "temperature": 0} | members
    request: CompletionRequest = COMPLETIONS.parse(orjson.dumps(whole))
    return request


def call_of(headers: HeaderList | None = None, key: Key = KEY, **members: Any) -> Call:
    """One admitted call; ``members`` are those of its body."""
    lines = headers or []
    exchange = Exchange("id-1", dict(lines), 0.0)
    exchange.key, request = key, request_of(**members)
    exchange.outcome.alias = request.model
    return Call.of(exchange, key, COMPLETIONS, request, lines)


def chunk_of(text: str, index: int = 0, reason: str | None = None, **members: Any) -> Chunk:
    """One chunk as the contract has it."""
    choice = {"text": text, "index": index, "logprobs": None, "finish_reason": reason}
    return Chunk.of(envelope() | {"choices": [choice]} | members)


def stream_of(*texts: str) -> tuple[list[Chunk], StreamEnd]:
    """A whole stream that says these texts as choice 0, one a chunk."""
    last = len(texts) - 1
    chunks = [
        chunk_of(text, reason="stop" if place == last else None) for place, text in enumerate(texts)
    ]
    return chunks, StreamEnd(USAGE, {"usage": USAGE.document()})


def answer_of(*texts: str, usage: Usage = USAGE, **members: Any) -> Answer:
    """A plain answer with a choice for each text."""
    choices = [
        {"text": text, "index": index, "logprobs": None, "finish_reason": "stop"}
        for index, text in enumerate(texts)
    ]
    body = envelope() | {"choices": choices, "usage": usage.document()} | members
    return Answer(orjson.dumps(body), ORIGIN.model, usage)


def envelope() -> dict[str, Any]:
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1_600_000_000,
        "model": ORIGIN.model,
    }


def texts_of(body: bytes) -> list[str]:
    """The text of each choice of a plain answer."""
    return [choice["text"] for choice in orjson.loads(body)["choices"]]


def header_of(call: Call, name: bytes) -> bytes | None:
    """What the reply will say under this name."""
    return dict(call.reply_headers).get(name)


class RecordingWriter:
    """Takes an answer and remembers how it came: ``said`` has the writer's methods in order.

    Where ``room`` is set, a write waits for it, as one does whose reader is slow.
    """

    def __init__(self, room: asyncio.Event | None = None) -> None:
        self.said: list[str] = []
        self.origin: Origin | None = None
        self.plain: Answer | None = None
        self.chunks: list[Chunk] = []
        self.end: StreamEnd | None = None
        self.error: UpstreamError | None = None
        self._room = room

    async def answer(self, origin: Origin, answer: Answer) -> None:
        self.said.append("answer")
        self.origin, self.plain = origin, answer

    async def begin(self, origin: Origin) -> None:
        self.said.append("begin")
        self.origin = origin

    async def write(self, chunks: Sequence[Chunk]) -> None:
        self.said.append("write")
        self.chunks += chunks
        if self._room is not None:
            await self._room.wait()

    async def finish(self, end: StreamEnd, chunks: Sequence[Chunk] = ()) -> None:
        self.said.append("finish")
        self.chunks += chunks
        self.end = end
        if self._room is not None:
            await self._room.wait()

    async def fail(self, error: UpstreamError) -> None:
        self.said.append("fail")
        self.error = error

    @property
    def texts(self) -> list[str]:
        """The text of each choice, whichever shape it came in."""
        if self.plain is not None:
            return texts_of(self.plain.body)
        found: dict[int, str] = {}
        for chunk in self.chunks:
            for choice in chunk.document["choices"]:
                found[choice["index"]] = found.get(choice["index"], "") + choice["text"]
        return [found[index] for index in sorted(found)]


class Answering:
    """A handler that gives the same answer to everything, in the shape that is asked for.

    Choice ``i`` of a prompt says ``text`` (or ``text`` of the prompt), one word a chunk. It waits
    for ``gate`` before its last word, raises ``refusal`` before anything, and where ``cut`` is set,
    that stands in the place of the last word.
    """

    def __init__(
        self,
        text: str | Callable[[Any], str] = "yes it is",
        *,
        origin: Origin = ORIGIN,
        gate: asyncio.Event | None = None,
        refusal: GatewayError | None = None,
        cut: UpstreamError | None = None,
        cost: int | None = None,
    ) -> None:
        self.calls: list[Call] = []
        self.cancelled = 0
        self.text = text
        self.gate = gate
        self.refusal = refusal
        self.cut = cut
        self._origin = origin
        self._cost = cost

    @property
    def prompts(self) -> list[list[Any]]:
        """What each call asked for."""
        return [call.request.prompts for call in self.calls]  # type: ignore[attr-defined]

    async def __call__(self, call: Call, reply: ReplyWriter) -> None:
        self.calls.append(call)
        call.outcome.attempts += 1
        try:
            await self._answer(call, reply)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def _answer(self, call: Call, reply: ReplyWriter) -> None:
        request = call.request
        assert isinstance(request, CompletionRequest)
        if self.refusal is not None:
            raise self.refusal
        speak = self.text if callable(self.text) else lambda _, said=self.text: said
        texts = [speak(prompt) for prompt in request.prompts for _ in range(request.n)]
        if not request.stream:
            await self._wait()
            self._note(call)
            await reply.answer(self._origin, answer_of(*texts))
            return
        await reply.begin(self._origin)
        last: list[Chunk] = []
        for index, text in enumerate(texts):
            *words, end = text.split(" ")
            for word in words:
                await reply.write([chunk_of(f"{word} ", index)])
            last.append(chunk_of(end, index, "stop"))
        await self._wait()
        self._note(call)
        if self.cut is not None:
            await reply.fail(self.cut)
            return
        await reply.finish(StreamEnd(USAGE, {"usage": USAGE.document()}), last)

    async def _wait(self) -> None:
        if self.gate is not None:
            await self.gate.wait()

    def _note(self, call: Call) -> None:
        call.outcome.usage, call.outcome.cost = USAGE, self._cost


class FailingStore(EmbeddedStore):
    """The embedded store, and one that does nothing while it is ``out``."""

    def __init__(self) -> None:
        super().__init__()
        self.out = False
        self.asked = 0

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        self._ask()
        return await super().run(script, keys, args)

    async def command(self, *args: Any) -> Any:
        self._ask()
        return await super().command(*args)

    def tell(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Any],
        failed: Callable[[], None] | None = None,
    ) -> None:
        if not self.out:
            super().tell(script, keys, args)
        elif failed is not None:
            failed()

    def _ask(self) -> None:
        self.asked += 1
        if self.out:
            raise StoreUnavailable


class Door:
    """One request through ``Http`` by hand: what the caller sends later, and what it was sent.

    ``leave`` disconnects; where ``room`` is set, a send waits for it.
    """

    def __init__(
        self,
        headers: HeaderList | None = None,
        key: Key = KEY,
        family: Family = COMPLETIONS,
        **members: Any,
    ) -> None:
        self.exchange = Exchange("id-1", dict(headers or []), 0.0)
        self.exchange.key = key
        own = family is COMPLETIONS
        self._request = request_of(**members) if own else family.parse(orjson.dumps(members))
        self._family = family
        self.sent: list[Any] = []
        self.leave = asyncio.Event()
        self.room: asyncio.Event | None = None
        self._key = key
        self._lines = headers or []

    async def through(self, handler: Handler, send_timeout: float = 5.0) -> Door:
        call = Call.of(self.exchange, self._key, self._family, self._request, self._lines)
        scope = {"state": {"call": call}}
        await Http(handler, send_timeout=send_timeout)(scope, self._receive, self._send)
        return self

    async def _receive(self) -> Any:
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)
        if self.room is not None:
            await self.room.wait()

    @property
    def status(self) -> int | None:
        """None where nothing was answered."""
        return self.sent[0]["status"] if self.sent else None

    @property
    def headers(self) -> dict[bytes, bytes]:
        """Of the answer, with what the layers say about it."""
        return dict([*self.sent[0]["headers"], *self.exchange.reply_headers])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def ended(self) -> bool:
        """Whether the answer was ended, as a server sees it."""
        return bool(self.sent) and self.sent[-1].get("more_body") is False


def on_the_wire(chunks: Sequence[Chunk], end: StreamEnd, *, usage: bool = True) -> bytes:
    """The bytes of a whole stream, for a caller that asked for usage or did not."""

    async def handler(_: Call, reply: ReplyWriter) -> None:
        await reply.begin(ORIGIN)
        await reply.write(chunks[:-1])
        await reply.finish(end, chunks[-1:])

    async def run() -> bytes:
        options = {"include_usage": usage}
        return (await Door(stream=True, stream_options=options).through(handler)).body

    return asyncio.run(run())
