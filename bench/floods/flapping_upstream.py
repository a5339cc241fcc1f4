"""Upstreams in this process that are well for a while and then ill for a while, each in a new way."""

import asyncio
import contextlib
import itertools
import json
import random
from collections import Counter
from typing import Any

from bench.processes import HOST

CHUNKS = 8
_APART_SECONDS = 0.005
_SPELL_SECONDS = (0.5, 2.5)  # how long one is well, or ill
_ILLS = ("refuses", "500", "503", "429", "cut", "silent")


def text_of(prompt: str) -> str:
    """What every upstream answers to a prompt, when it is well."""
    return "".join(pieces_of(prompt))


def pieces_of(prompt: str) -> list[str]:
    return [f"{number}:{prompt};" for number in range(CHUNKS)]


class FlappingUpstream:
    """An OpenAI-compatible server at `port`; one that is `steady` is always well.

    `seen` counts what it did.
    """

    def __init__(self, port: int, seed: int, *, steady: bool = False) -> None:
        self._port = port
        self._random = random.Random(seed)
        self._steady = steady
        self._ill = ""
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.seen: Counter[str] = Counter()

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            for spell in itertools.count():
                self._ill = self._random.choice(_ILLS) if spell % 2 and not self._steady else ""
                self.seen[f"a spell of {self._ill or 'health'}"] += 1
                await self._listen(on=self._ill != "refuses")
                await asyncio.sleep(self._random.uniform(*_SPELL_SECONDS))
        finally:
            await self._listen(on=False)

    async def _listen(self, *, on: bool) -> None:
        if on and self._server is None:
            self._server = await asyncio.start_server(self._serve, HOST, self._port)
        elif not on and self._server is not None:
            self._server.close()
            self._server = None
            for writer in self._open:
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            # uvloop says RuntimeError where a spell of refusing has just closed the connection.
            with contextlib.suppress(OSError, RuntimeError, asyncio.IncompleteReadError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection goes on."""
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        asked = json.loads(await reader.readexactly(length))
        ill = self._ill
        self.seen[ill or "answered"] += 1
        if ill == "silent":
            await reader.read()  # until the caller has had enough
            return False
        if ill in ("500", "503", "429"):
            error = json.dumps({"error": {"message": "flapping", "type": "x", "code": None}})
            writer.write(_whole(int(ill), error.encode()))
        elif asked.get("stream"):
            await self._stream(writer, asked, cut=ill == "cut")
        else:
            body = json.dumps(_completion(asked, text_of(asked["prompt"]), "stop")).encode()
            whole = _whole(200, body)
            writer.write(whole[: len(whole) // 2] if ill == "cut" else whole)
        await writer.drain()
        return ill != "cut"

    async def _stream(
        self, writer: asyncio.StreamWriter, asked: dict[str, Any], *, cut: bool
    ) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        pieces = pieces_of(asked["prompt"])
        for number, piece in enumerate(pieces[: self._random.randrange(CHUNKS)] if cut else pieces):
            last = number == CHUNKS - 1
            event = _completion(asked, piece, "stop" if last else None)
            if not last:
                event["usage"] = None
            _write_event(writer, json.dumps(event))
            await writer.drain()
            await asyncio.sleep(_APART_SECONDS)
        if not cut:
            _write_event(writer, "[DONE]")
            writer.write(b"0\r\n\r\n")


def _completion(asked: dict[str, Any], text: str, finish: str | None) -> dict[str, Any]:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
    usage = {"prompt_tokens": 4, "completion_tokens": CHUNKS, "total_tokens": CHUNKS + 4}
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": asked["model"]}
    return {**head, "choices": [choice], "usage": usage}


def _whole(status: int, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def _write_event(writer: asyncio.StreamWriter, data: str) -> None:
    event = f"data: {data}\n\n".encode()
    writer.write(b"%x\r\n%b\r\n" % (len(event), event))
