"""A herd that asks the same thing at once, an upstream whose every word is held by a gate, replicas.

Clients are bare sockets on one loop in a thread of its own: what came is noted with its moment the
instant it comes, and taken apart afterwards.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import redis

from tests.e2e.wire.conftest import openai, target
from tests.harness.gateway import PROMPT, Gateway
from tests.harness.upstream import PATIENCE, Gate, Request, Upstream, Wire, head

PRICE = {"input_per_million": 1000, "output_per_million": 1000}
LATE = 5.0  # seconds after which an answer that does not come counts as a hang
WORDS = 12  # tokens of every choice

RICH = "hg-rich-0123456789abcdef"
RICHER = "hg-richer-0123456789abcdef"
POOR = "hg-poor-0123456789abcdef"
FOLLOWING = "hg-following-0123456789abcdef"
LEADING = "hg-leading-0123456789abcdef"

_numbers = itertools.count()


def unseen() -> str:
    """A prompt that nobody asked before."""
    return f"{PROMPT} {os.getpid()}-{next(_numbers)}"


# The replicas.


def configuration(url: str, upstream: Upstream, workers: int, **store: Any) -> dict[str, Any]:
    """All models ask for `up`; they differ in who may share."""

    def cached(**cache: Any) -> dict[str, Any]:
        return target("main", "up", price=PRICE, cache=cache)

    tokens = {"tokens_per_minute": 6_000, "token_burst": 60_000}
    return {
        "server": {"workers": workers, "shutdown_grace": "2s"},
        "log": {"format": "json"},
        "store": {"url": url, **store},
        "providers": {"main": openai(upstream.base_url)},
        "models": {
            "shared": cached(),
            "all": cached(coalesce="all"),
            "off": cached(coalesce="off"),
        },
        "limits": {"tokens": tokens},
        "budgets": {
            "nothing": {"usd": 0.000001, "per": "month"},
            "much": {"usd": 1000, "per": "month"},
        },
        "tenants": {"acme": {}},
        "keys": [
            {"id": "rich", "tenant": "acme", "secret": RICH},
            {"id": "richer", "tenant": "acme", "secret": RICHER},
            {"id": "poor", "tenant": "acme", "secret": POOR, "budget": "nothing"},
            *(
                {"id": name, "tenant": "acme", "secret": secret}
                | {"budget": "much", "limits": "tokens"}
                for name, secret in (("following", FOLLOWING), ("leading", LEADING))
            ),
        ],
    }


@contextmanager
def replicas(
    url: str, upstream: Upstream, count: int = 2, workers: int = 2, **store: Any
) -> Iterator[list[Gateway]]:
    """Gateways that share a store, with all their workers up; none may leak anything private."""
    settings = configuration(url, upstream, workers, **store)
    secrets = [key["secret"] for key in settings["keys"]]
    with ExitStack() as stack:
        gateways = [
            stack.enter_context(Gateway(settings, [*secrets, upstream.address]))
            for _ in range(count)
        ]
        yield gateways
        assert [leak for gateway in gateways for leak in gateway.leaks] == []


def workers_of(gateway: Gateway) -> list[int]:
    """The process ids of its workers: those of its children that listen."""
    assert gateway._process is not None
    parent = gateway._process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if b"tracker" not in _command(pid)]


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b"tracker"


class Shared:
    """What stands in the store about flights, read without the gateway's code."""

    def __init__(self, port: int) -> None:
        self.url = f"redis://127.0.0.1:{port}/0"
        self.redis = redis.Redis(port=port, decode_responses=True, socket_timeout=PATIENCE)

    def close(self) -> None:
        self.redis.close()

    @property
    def flights(self) -> list[str]:
        """Who leads right now, as ``<pid>-<hex>.<n>``."""
        keys = list(self.redis.scan_iter("hg1:*:flight:*", count=1000))
        return [str(value) for key in keys if (value := self.redis.get(key))]

    @property
    def leader(self) -> int:
        """The process that leads the only flight there is."""
        [flight] = self.flights
        return int(flight.partition("-")[0])

    @property
    def mailboxes(self) -> int:
        return len(self.redis.pubsub_channels("hg1:mail:*"))

    def all_listen(self, workers: int) -> None:
        """Wait until so many workers hear from the others, and as many as that only."""
        eventually(lambda: self.mailboxes, workers)


def eventually(found: Callable[[], Any], expected: Any = True, within: float = PATIENCE) -> None:
    end = time.monotonic() + within
    value = found()
    while value != expected and time.monotonic() < end:
        time.sleep(0.01)  # polling for an event, with a deadline
        value = found()
    assert value == expected, f"{value!r} where {expected!r} was expected"


def quiet(gateways: Sequence[Gateway]) -> None:
    """Wait until the workers have nothing more to do: who could join has joined."""
    pids = [pid for gateway in gateways for pid in workers_of(gateway)]
    end = time.monotonic() + PATIENCE
    before = ticks(pids)
    while time.monotonic() < end:
        time.sleep(0.1)  # the length of the look at the workers' clocks
        now = ticks(pids)
        if now - before <= 2:
            return
        before = now
    raise AssertionError("the workers are not quiet")


def ticks(pids: Iterable[int]) -> int:
    """Hundredths of a second that processes have computed for."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total


def descriptors(pid: int, upstream: Upstream) -> int:
    """How many files and sockets a process has open, kept connections to the upstream apart."""
    there = f":{upstream.port:04X}"
    pooled = {
        fields[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if (fields := line.split())[2].endswith(there)
    }
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            name = str(link.readlink())
        except FileNotFoundError:
            continue
        count += name.removeprefix("socket:[").removesuffix("]") not in pooled
    return count


# The upstream.


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


# The herd.


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
        eventually(lambda: sum(client.ended is None for client in clients), 0, within)

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
