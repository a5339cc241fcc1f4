"""A herd that asks the same thing at once.

Clients are bare sockets on one loop in a thread of its own: what came is noted with its moment the
instant it comes, and taken apart afterwards.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Self

from tests.e2e.cache.play import Act, prompts_of, text_of, usage_of
from tests.e2e.cache.replicas import RICH
from tests.harness.gateway import Gateway
from tests.harness.waiting import PATIENCE, eventually

LATE = 5.0  # seconds after which an answer that does not come counts as a hang


class Client(asyncio.Protocol):
    """One caller on a connection of its own."""

    def __init__(self, gateway: Gateway, secret: str, body: dict[str, Any], headers: Any) -> None:
        self.gateway = gateway
        self.body = body
        self.act = Act()  # what the upstream says to it
        self.packets: list[tuple[float, bytes]] = []
        self.began = 0.0
        self.ended: float | None = None  # when the connection was closed or the answer whole
        self.lost = False
        content = json.dumps(body).encode()
        lines = [
            "POST /v1/completions HTTP/1.1",
            "host: gateway",
            f"authorization: Bearer {secret}",
            "content-type: application/json",
            "connection: close",
            f"content-length: {len(content)}",
            *(f"{name}: {value}" for name, value in dict(headers).items()),
        ]
        self._request = ("\r\n".join(lines) + "\r\n\r\n").encode() + content
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.began = time.perf_counter()
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.packets.append((time.perf_counter(), data))

    def connection_lost(self, _: Exception | None) -> None:
        self.ended = time.perf_counter()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def stop_reading(self) -> None:
        assert self._transport is not None
        self._transport.pause_reading()

    def go_on_reading(self) -> None:
        assert self._transport is not None
        self._transport.resume_reading()

    # What it got.

    @property
    def streamed(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def raw(self) -> bytes:
        return b"".join(data for _, data in self.packets)

    @property
    def status(self) -> int:
        """0 where there was no answer."""
        raw = self.raw
        return int(raw.split(b" ", 2)[1]) if b"\r\n\r\n" in raw else 0

    @property
    def headers(self) -> dict[str, str]:
        _, *fields = self.raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        return {n.lower(): v.strip() for n, _, v in (field.partition(":") for field in fields)}

    @property
    def cache(self) -> str:
        return self.headers.get("x-headgate-cache", "")

    @property
    def content(self) -> tuple[bytes, bool]:
        """The body so far, and whether its framing ended."""
        body = self.raw.partition(b"\r\n\r\n")[2]
        headers = self.headers
        if headers.get("transfer-encoding") != "chunked":
            return body, len(body) == int(headers.get("content-length", -1))
        data: list[bytes] = []
        place = 0
        while (end := body.find(b"\r\n", place)) >= 0:
            size = int(body[place:end], 16)
            if size == 0:
                return b"".join(data), True
            data.append(body[end + 2 : end + 2 + size])
            place = end + 2 + size + 2
        return b"".join(data), False

    def moment_of(self, word: bytes) -> float:
        """When the packet with these bytes came."""
        seen = b""
        for moment, data in self.packets:
            seen = seen[-len(word) :] + data
            if word in seen:
                return moment
        raise AssertionError(f"{word!r} never came")

    def has(self, word: bytes) -> bool:
        return word in self.raw

    def verdict(self) -> str:
        """``whole``, ``cut``, or the code of the error; fails where it got anything that is wrong.

        Never more nor less than the answer may be called whole, and what came of a broken one is
        how the right one begins.
        """
        assert self.ended is not None, f"hangs with {self.raw[-300:]!r}"
        if not self.status:
            return "cut"
        body, framed = self.content
        self.gateway.check_leaks(self.raw)
        if self.status != 200:
            assert framed
            return str(json.loads(body)["error"]["code"])
        return self._stream_verdict(body, framed) if self.streamed else self._plain(body, framed)

    def _plain(self, body: bytes, framed: bool) -> str:
        if not framed:
            return "cut"
        prompts = prompts_of(self.body)
        document = json.loads(body)
        choices = document["choices"]
        assert [choice["index"] for choice in choices] == list(range(len(prompts)))
        assert [choice["text"] for choice in choices] == [text_of(p, self.act) for p in prompts]
        assert all(choice["finish_reason"] == "stop" for choice in choices)
        assert document["usage"] == usage_of(prompts, self.act)
        assert document["object"] == "text_completion"
        return "whole"

    def _stream_verdict(self, body: bytes, framed: bool) -> str:
        *events, rest = body.split(b"\n\n")
        assert all(event.startswith(b"data: ") and b"\n" not in event for event in events)
        payloads = [event.removeprefix(b"data: ") for event in events]
        whole = payloads[-1:] == [b"[DONE]"]
        assert payloads.count(b"[DONE]") == whole
        chunks = [json.loads(payload) for payload in payloads if payload != b"[DONE]"]
        error = chunks.pop()["error"] if chunks and "error" in chunks[-1] else None
        self._check_chunks(chunks, whole)
        if whole:
            assert error is None
            assert framed
            assert not rest
            return "whole"
        return "cut" if error is None else str(error["code"])

    def _check_chunks(self, chunks: list[dict[str, Any]], whole: bool) -> None:
        prompts = prompts_of(self.body)
        asked = bool((self.body.get("stream_options") or {}).get("include_usage"))
        assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) <= 1
        if whole and asked:
            last = chunks.pop()
            assert last["choices"] == []
            assert last["usage"] == usage_of(prompts, self.act)
        texts = dict.fromkeys(range(len(prompts)), "")
        ends: Counter[int] = Counter()
        for chunk in chunks:
            assert chunk["choices"]
            assert ("usage" in chunk) == asked
            assert chunk.get("usage") is None
            for choice in chunk["choices"]:
                assert not ends[choice["index"]], "text after its end"
                texts[choice["index"]] += choice["text"]
                ends[choice["index"]] += choice["finish_reason"] is not None
        for index, prompt in enumerate(prompts):
            right = text_of(prompt, self.act)
            if whole:
                assert texts[index] == right
                assert ends[index] == 1
            else:
                assert right.startswith(texts[index])


class Herd:
    """The callers' loop, on a thread; use as a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._clients: list[Client] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            self._loop.call_soon_threadsafe(client.abort)
        self._run(asyncio.sleep(0.01))  # closing transports need a turn of the loop or two
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def ask(
        self,
        gateway: Gateway,
        body: dict[str, Any],
        secret: str = RICH,
        headers: Any = (),
        *,
        small: bool = False,
    ) -> Client:
        """One caller; ``small`` is the kernel's buffer for what it does not read."""
        return self.volley([(gateway, body, secret, headers)], small=small)[0]

    def volley(self, asks: Iterable[tuple[Any, ...]], *, small: bool = False) -> list[Client]:
        """Callers at once, each given by gateway, body, and perhaps secret and headers."""
        clients = [Client(gateway, body=body, **_named(more)) for gateway, body, *more in asks]
        self._clients += clients
        self._run(self._connect(clients, small))
        return clients

    def over(self, gateways: Sequence[Gateway], bodies: Iterable[dict[str, Any]]) -> list[Client]:
        """Callers at once, in turn over the gateways."""
        return self.volley(zip(itertools.cycle(gateways), bodies, strict=False))

    def finish(self, clients: Sequence[Client], within: float = PATIENCE) -> list[str]:
        """Each one's verdict, once all have ended."""
        self.ended(clients, within)
        return [client.verdict() for client in clients]

    def ended(self, clients: Sequence[Client], within: float = PATIENCE) -> None:
        eventually(lambda: sum(client.ended is None for client in clients), 0, within=within)

    def have(self, clients: Sequence[Client], word: bytes) -> None:
        """Wait until each of them was told this."""
        eventually(lambda: sum(not client.has(word) for client in clients), 0)

    def leave(self, clients: Iterable[Client]) -> None:
        """They close their connections."""
        for client in clients:
            self._loop.call_soon_threadsafe(client.abort)

    def stall(self, client: Client) -> None:
        self._loop.call_soon_threadsafe(client.stop_reading)

    def resume(self, client: Client) -> None:
        self._loop.call_soon_threadsafe(client.go_on_reading)

    async def _connect(self, clients: Sequence[Client], small: bool) -> None:
        await asyncio.gather(*(_open(client, small) for client in clients))

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)


def _named(more: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(("secret", "headers"), [*more, *(RICH, ())[len(more) :]], strict=True))


async def _open(client: Client, small: bool) -> None:
    end = socket.socket()
    end.setblocking(False)
    if small:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(end, ("127.0.0.1", client.gateway.port))
    await loop.create_connection(lambda: client, sock=end)


def asking(prompt: Any, **fields: Any) -> dict[str, Any]:
    """A request that may be shared."""
    return {"model": "shared", "prompt": prompt, "max_tokens": 64, "temperature": 0} | fields


def tally(clients: Iterable[Client]) -> Counter[str]:
    """What the cache said to how many."""
    return Counter(client.cache for client in clients)
