"""A scripted inference server over real sockets, on a thread and loop of its own.

The ``model`` in a request's body chooses a script: an async function of the decoded request and of
the wire, which it may write on byte by byte. A model without a script gets `good_server`, an
OpenAI-compatible one. Everything that arrives is kept: raw heads, bodies, and when each connection
was closed from the other side.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing, suppress
from typing import Any, Self

PATIENCE = 10.0  # seconds after which a test that waits has failed


class Connection:
    """One accepted connection: what came over it, and when its peer closed it."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        self.closed_at: float | None = None  # time.perf_counter()
        self.requests = 0

    def note_closed(self) -> None:
        if not self.closed.is_set():
            self.closed_at = time.perf_counter()
            self.closed.set()


class Request:
    """One request as it came: ``head`` and ``body`` are the raw bytes."""

    def __init__(self, head: bytes, body: bytes, connection: Connection) -> None:
        self.head = head
        self.body = body
        self.connection = connection
        line, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        self.method, self.target, self.version = line.decode("latin-1").split(" ")
        pairs = (field.partition(b":") for field in fields)
        self.fields = [
            (n.decode("latin-1").lower(), v.strip().decode("latin-1")) for n, _, v in pairs
        ]
        self.headers = dict(self.fields)

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def model(self) -> str | None:
        try:
            return str(json.loads(self.body).get("model"))
        except (ValueError, AttributeError):
            return None

    def member(self, name: str) -> bytes | None:
        """The bytes of one top-level member, read without turning numbers into floats."""
        text = self.body.decode()
        decoder = json.JSONDecoder(parse_float=str, parse_int=str)
        place = 1
        while True:
            while text[place] in " \t\r\n,":
                place += 1
            if text[place] == "}":
                return None
            key, place = decoder.raw_decode(text, place)
            while text[place] in " \t\r\n:":
                place += 1
            start = place
            _, place = decoder.raw_decode(text, place)
            if key == name:
                return text[start:place].encode()


class Gate:
    """Holds a script until the test opens it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._event = asyncio.Event()

    def open(self) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        await asyncio.wait_for(self._event.wait(), PATIENCE)


class Wire:
    """The upstream's end of one exchange."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """These bytes and nothing else."""
        self._writer.write(data)
        await self._writer.drain()

    async def answer(
        self, body: Any, status: int = 200, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """A whole answer with a length; anything but bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.send(head(status, [*headers, ("content-length", str(len(data)))]) + data)

    async def begin_stream(self, headers: Iterable[tuple[str, str]] = ()) -> None:
        fields = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]
        await self.send(head(200, [*fields, *headers], kind=None))

    async def packet(self, data: bytes) -> None:
        """One HTTP chunk."""
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def event(self, payload: Any) -> None:
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        await self.packet(b"data: " + data + b"\n\n")

    async def end_stream(self) -> None:
        await self.send(b"0\r\n\r\n")

    def close(self) -> None:
        """FIN."""
        self._writer.close()

    def reset(self) -> None:
        """RST: what was written may be lost."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._writer.transport.abort()


Script = Callable[[Request, Wire], Awaitable[None]]


def head(
    status: int,
    headers: Iterable[tuple[str, str]] = (),
    kind: str | None = "application/json",
) -> bytes:
    fields = list(headers)
    if kind is not None and not any(name == "content-type" for name, _ in fields):
        fields.insert(0, ("content-type", kind))
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class _Protocol(asyncio.StreamReaderProtocol):
    """Notes the close the moment it comes, whether or not anybody reads."""

    def __init__(self, upstream: Upstream, loop: asyncio.AbstractEventLoop) -> None:
        self.connection = Connection()
        self.task: asyncio.Task[None] | None = None
        self._upstream = upstream
        super().__init__(asyncio.StreamReader(limit=1 << 20, loop=loop), self._begin, loop=loop)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._upstream.note_connection(self)
        self.task = asyncio.ensure_future(self._upstream.serve(reader, writer, self.connection))

    def eof_received(self) -> bool:
        self.connection.note_closed()
        super().eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection.note_closed()
        super().connection_lost(exc)
        if self.task is not None:
            self.task.cancel()


class Upstream:
    """The server; use as a context manager. With ``tls`` it speaks HTTPS."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.scripts: dict[str, Script] = {}
        self.requests: list[Request] = []
        self.connections: list[Connection] = []
        self.port = 0
        self._tls = tls
        self._arrived = threading.Condition()
        self._gates: list[Gate] = []
        self._protocols: set[_Protocol] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.address}/v1"

    # What tests ask for.

    def reset(self) -> None:
        """Forget what happened, and let go of whoever still waits."""
        for gate in self._gates:
            gate.open()
        self._gates.clear()
        self.scripts.clear()
        with self._arrived:
            self.requests = []
            self.connections = []

    def gate(self) -> Gate:
        gate = Gate(self._loop)
        self._gates.append(gate)
        return gate

    def on(self, model: str, script: Script) -> None:
        """Answer requests for this upstream model so from now on."""
        self.scripts[model] = script

    def wait_for(self, count: int = 1) -> list[Request]:
        """The requests so far, once there are that many."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.requests) >= count, PATIENCE), (
                f"{len(self.requests)} requests came where {count} were expected"
            )
            return list(self.requests)

    @property
    def request(self) -> Request:
        """The only request there was."""
        (request,) = self.wait_for(1)
        return request

    # The server.

    def note_connection(self, protocol: _Protocol) -> None:
        self._protocols.add(protocol)
        with self._arrived:
            self.connections.append(protocol.connection)

    async def serve(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        connection: Connection,
    ) -> None:
        gone = (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError, TimeoutError)
        with closing(writer), suppress(*gone):
            while not writer.is_closing():
                request = await _read_request(reader, connection)
                connection.requests += 1
                with self._arrived:
                    self.requests.append(request)
                    self._arrived.notify_all()
                script = self.scripts.get(request.model or "", good_server)
                await script(request, Wire(writer))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Protocol(self, loop), "127.0.0.1", 0, ssl=self._tls, backlog=1024
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        tasks = [p.task for p in self._protocols if p.task is not None and not p.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # closing transports need a turn of the loop or two


async def _read_request(reader: asyncio.StreamReader, connection: Connection) -> Request:
    raw = await reader.readuntil(b"\r\n\r\n")
    request = Request(raw, b"", connection)
    if "content-length" in request.headers:
        request.body = await reader.readexactly(int(request.headers["content-length"]))
    elif "transfer-encoding" in request.headers:
        while size := int(await reader.readline(), 16):
            request.body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    return request


# A good server.


async def good_server(request: Request, wire: Wire) -> None:
    """Answers as an OpenAI-compatible server does; the text names the prompt and the choice."""
    document = request.document
    reply = Answer(document, chat=request.target.endswith("/chat/completions"))
    if not document.get("stream"):
        await wire.answer(reply.whole())
        return
    await wire.begin_stream()
    for chunk in reply.chunks():
        await wire.event(chunk)
    await wire.event(b"[DONE]")
    await wire.end_stream()


def words_of(prompt: Any, number: int) -> list[str]:
    """The tokens that `good_server` answers a prompt with, in its choice ``number``."""
    label = prompt if isinstance(prompt, str) else "-".join(map(str, prompt))
    return ["Re", f" <{label}>", f" {number}"]


def text_of(prompt: Any, number: int = 0) -> str:
    return "".join(words_of(prompt, number))


class Answer:
    """What a good server says to one request, whole or in chunks."""

    def __init__(self, document: dict[str, Any], chat: bool) -> None:
        self._document = document
        self._chat = chat
        self._n = int(document.get("n") or 1)
        if chat:
            self._prompts: list[Any] = ["".join(map(_said, document["messages"]))]
        else:
            prompt = document["prompt"]
            single = isinstance(prompt, str) or (prompt and isinstance(prompt[0], int))
            self._prompts = [prompt] if single else prompt

    def whole(self) -> dict[str, Any]:
        kind = "chat.completion" if self._chat else "text_completion"
        choices = []
        for index, words in enumerate(self._choices()):
            body = {"index": index, "finish_reason": "stop", "logprobs": self._logprobs(words, 0)}
            text = "".join(words)
            if self._chat:
                body["message"] = {"role": "assistant", "content": text}
            else:
                body["text"] = text
            choices.append(body)
        return {**self._envelope(kind), "choices": choices, "usage": self.usage()}

    def chunks(self) -> list[dict[str, Any]]:
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        envelope = self._envelope(kind)
        options = self._document.get("stream_options") or {}
        if options.get("include_usage"):
            envelope["usage"] = None
        choices = self._choices()
        chunks = []
        if self._chat:
            for index in range(len(choices)):
                chunks += [self._chunk(envelope, index, "", None, None, role=True)]
        offsets = [0] * len(choices)
        for place in range(max(map(len, choices)) + 1):
            for index, words in enumerate(choices):
                if place < len(words):
                    word = words[place]
                    logprobs = self._logprobs([word], offsets[index])
                    offsets[index] += len(word)
                    chunks.append(self._chunk(envelope, index, word, logprobs, None))
                elif place == len(words):
                    chunks.append(self._chunk(envelope, index, "", None, "stop"))
        if options.get("include_usage"):
            chunks.append({**envelope, "choices": [], "usage": self.usage()})
        return chunks

    def usage(self) -> dict[str, int]:
        prompt = sum(len(p.split() if isinstance(p, str) else p) for p in self._prompts)
        completion = 3 * len(self._prompts) * self._n
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }

    def _choices(self) -> list[list[str]]:
        echo = self._document.get("echo") and not self._chat
        return [
            ([str(prompt)] if echo else []) + words_of(prompt, number)
            for prompt in self._prompts
            for number in range(self._n)
        ]

    def _envelope(self, kind: str) -> dict[str, Any]:
        prefix = "chatcmpl" if self._chat else "cmpl"
        return {
            "id": f"{prefix}-7",
            "object": kind,
            "created": 1700000000,
            "model": self._document["model"],
        }

    def _chunk(
        self,
        envelope: dict[str, Any],
        index: int,
        text: str,
        logprobs: Any,
        reason: str | None,
        role: bool = False,
    ) -> dict[str, Any]:
        choice = {"index": index, "logprobs": logprobs, "finish_reason": reason}
        if not self._chat:
            return {**envelope, "choices": [{**choice, "text": text}]}
        delta: dict[str, Any] = {"role": "assistant", "content": ""} if role else {}
        if text:
            delta["content"] = text
        return {**envelope, "choices": [{**choice, "delta": delta}]}

    def _logprobs(self, words: list[str], offset: int) -> Any:
        asked = self._document.get("logprobs")
        if asked is None or asked is False:
            return None
        if self._chat:
            top = int(self._document.get("top_logprobs") or 0)
            return {
                "content": [
                    {
                        "token": word,
                        "logprob": -0.25,
                        "bytes": list(word.encode()),
                        "top_logprobs": [
                            {"token": word if k == 0 else f"{word}{k}", "logprob": -0.25 - k}
                            for k in range(top)
                        ],
                    }
                    for word in words
                ]
            }
        offsets = []
        for word in words:
            offsets.append(offset)
            offset += len(word)
        return {
            "tokens": words,
            "token_logprobs": [-0.25] * len(words),
            "top_logprobs": [
                {word if k == 0 else f"{word}{k}": -0.25 - k for k in range(asked)}
                for word in words
            ],
            "text_offset": offsets,
        }


def _said(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""
