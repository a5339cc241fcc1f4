"""A mock upstream that streams completions: `python -m bench.stream_upstream --port N`.

It sends one SSE chunk for each of `max_tokens` (50 when absent) to each of `n` choices, the first
at once and the next ones `--delay-ms` apart, each in a write of its own; then the usage chunk, if
`stream_options.include_usage` was asked for, and `[DONE]`. `GET /control` tells how many streams
are live, finished and aborted by the other side, and how many connections are open.
"""

import argparse
import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, cast

import httptools
import orjson
import uvloop

from bench.framing import DONE
from bench.processes import HOST
from bench.requests import COMPLETION, PATHS, UPSTREAM_MODEL, Operation, answer

WORD = " token"
_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_END = b"0\r\n\r\n"


@dataclass(slots=True)
class Counts:
    """What `GET /control` answers."""

    live: int = 0
    finished: int = 0
    aborted: int = 0
    connections: int = 0


class Connection(asyncio.Protocol):
    """One kept-alive connection; one request at a time."""

    def __init__(
        self, counts: Counts, delay: float, keep_alive: float, asker: "Asker | None" = None
    ) -> None:
        self._counts = counts
        self._asker = asker
        self._delay = delay
        self._keep_alive = keep_alive
        self._loop = asyncio.get_running_loop()
        self._script: Iterator[bytes] | None = None
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._url = b""
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by behaviour only
        self._parser = httptools.HttpRequestParser(self)
        self._counts.connections += 1
        self._rest()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._counts.connections -= 1
        self._cancel()
        if self._script is not None:
            self._counts.live -= 1
            self._counts.aborted += 1

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def pause_writing(self) -> None:
        self._cancel()

    def resume_writing(self) -> None:
        if self._script is not None and self._timer is None:
            self._timer = self._loop.call_soon(self._step)

    def on_message_begin(self) -> None:
        self._url = self._body = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._cancel()
        asked = orjson.loads(self._body or b"{}")
        if self._url.startswith(b"/control"):
            self._answer(orjson.dumps(asdict(self._counts)))
        elif asked.get("stream"):
            self._begin(asked)
        else:
            self._answer(_plain(self._url.decode(), asked))

    def _begin(self, asked: dict[str, Any]) -> None:
        usage = bool((asked.get("stream_options") or {}).get("include_usage"))
        self._counts.live += 1
        chat = self._url == PATHS["chat"].encode()
        chunks, choices = int(asked.get("max_tokens") or 50), int(asked.get("n") or 1)
        self._script = script(chunks, choices, usage, chat=chat)
        self._transport.write(_HEAD + next(self._script))
        self._again()

    def _answer(self, body: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        self._transport.write(head.encode() + b"\r\n\r\n" + body)
        self._rest()

    def _step(self) -> None:
        self._timer = None
        assert self._script is not None
        piece = next(self._script)
        if piece.endswith(_END):
            self._script = None
            self._counts.live -= 1
            self._counts.finished += 1
            self._rest()
        else:
            self._again()
        self._transport.write(piece)  # last: a full buffer calls pause_writing from here

    def step_on(self) -> None:
        """The next chunk, where chunks wait to be asked for."""
        if self._script is not None:
            self._step()

    def _again(self) -> None:
        if self._asker is not None:
            self._asker.streaming = self
        elif self._delay:
            self._timer = self._loop.call_later(self._delay, self._step)
        else:
            self._timer = self._loop.call_soon(self._step)

    def _rest(self) -> None:
        self._timer = self._loop.call_later(self._keep_alive, self._transport.close)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Asker(asyncio.DatagramProtocol):
    """Each datagram is answered with the next chunk of the one stream that runs."""

    def __init__(self) -> None:
        self.streaming: Connection | None = None

    def datagram_received(self, _data: bytes, _address: object) -> None:
        if self.streaming is not None:
            self.streaming.step_on()


def script(chunks: int, choices: int, usage: bool, *, chat: bool = False) -> Iterator[bytes]:
    """The pieces of one stream: one a token, then the tail with the usage and the end."""
    for number in range(chunks):
        first, last = number == 0, number == chunks - 1
        yield b"".join(_token(i, first and chat, last, usage, chat) for i in range(choices))
    yield _tail(chunks, choices, usage, chat)


def _plain(path: str, asked: dict[str, Any]) -> bytes:
    given = asked.get("prompt") or asked.get("input")
    return _whole(path, len(given) if isinstance(given, list) else 1)


@lru_cache(maxsize=64)
def _whole(path: str, prompts: int) -> bytes:
    operation: Operation = next((name for name in PATHS if PATHS[name] == path), "completions")
    return json.dumps(answer(operation, prompts)).encode()


@lru_cache(maxsize=1024)
def _token(index: int, first: bool, last: bool, usage: bool, chat: bool) -> bytes:
    finish = "length" if last else None
    delta = {"role": "assistant", "content": WORD} if first else {"content": WORD}
    said: dict[str, object] = {"delta": delta} if chat else {"text": WORD}
    choice = {**said, "index": index, "logprobs": None, "finish_reason": finish}
    return _event([choice], {"usage": None} if usage else {}, chat)


@lru_cache(maxsize=1024)
def _tail(chunks: int, choices: int, usage: bool, chat: bool) -> bytes:
    made = chunks * choices
    counted = {"prompt_tokens": 5, "completion_tokens": made, "total_tokens": 5 + made}
    return (_event([], {"usage": counted}, chat) if usage else b"") + _framed(DONE) + _END


def _event(choices: list[dict[str, object]], more: dict[str, object], chat: bool) -> bytes:
    body = {
        "id": f"chat{COMPLETION['id']}" if chat else COMPLETION["id"],
        "object": "chat.completion.chunk" if chat else "text_completion",
        "created": COMPLETION["created"],
        "model": UPSTREAM_MODEL,
        "choices": choices,
        **more,
    }
    return _framed(b"data: " + orjson.dumps(body) + b"\n\n")


def _framed(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def serve(
    port: int, delay: float, keep_alive: float, lifetime: float, *, asked: bool = False
) -> None:
    """Serves for at most `lifetime` seconds, so that an orphan ends by itself."""
    counts = Counts()
    loop = asyncio.get_running_loop()
    asker = Asker() if asked else None
    if asker is not None:
        await loop.create_datagram_endpoint(lambda: asker, (HOST, port))
    server = await loop.create_server(
        lambda: Connection(counts, delay, keep_alive, asker), HOST, port, backlog=4096
    )
    async with server:
        await asyncio.sleep(lifetime)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="A mock upstream that streams completions.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay-ms", type=float, default=0, help="between chunks")
    parser.add_argument("--keep-alive", type=float, default=75, help="seconds an idle one lives")
    parser.add_argument("--lifetime", type=float, default=900, help="seconds; then it ends")
    parser.add_argument(
        "--asked", action="store_true", help="each further chunk waits for a datagram to the port"
    )
    args = parser.parse_args()
    delay = args.delay_ms / 1000
    uvloop.run(serve(args.port, delay, args.keep_alive, args.lifetime, asked=args.asked))


if __name__ == "__main__":
    main()
