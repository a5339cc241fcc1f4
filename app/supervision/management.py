"""The management listener: health and metrics where callers cannot crowd them out.

HTTP/1.1 without keep-alive, for probes and scrapers: a request is its head, at most 8 KiB within
two seconds. At 32 connections the oldest is dropped for a new one. What needs the store, such as the
admin API, is relayed to a worker, and does not count among the 32.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import NamedTuple

import orjson

from app.core.errors import GatewayError
from app.observability.metrics.families import WORKER_RESTARTS, WORKERS_READY
from app.observability.metrics.snapshot import add, text
from app.supervision.control import Control
from app.supervision.hearing import Hearing
from app.supervision.relay import Relay
from app.supervision.relay_mark import is_relayed
from app.supervision.replica_metrics import ReplicaMetrics
from app.supervision.worker import Beat

MAX_CONNECTIONS = 32
MAX_HEAD_BYTES = 8 << 10
HEAD_SECONDS = 2.0
METRICS_SECONDS = 2.0
SEND_SECONDS = 2.0

_SILENT = "no worker gave its metrics in time"
_JSON = "application/json"
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
# Which of several workers' reasons says most about the replica.
_REASONS = ("store_unavailable", "not_answering", "starting")


class Answer(NamedTuple):
    status: str
    body: bytes
    kind: str = _JSON


class Management:
    """Answers on ``listener`` from what ``control`` hears; ``generation`` names the configuration.

    ``relay`` leads to the workers, for the paths that they answer.
    """

    def __init__(
        self, listener: socket.socket, generation: Callable[[], str], relay: Relay
    ) -> None:
        self._listener = listener
        self._generation = generation
        self._relay = relay
        self._measured = ReplicaMetrics()
        self._open: dict[asyncio.StreamWriter, None] = {}

    async def serve(self, control: Control) -> asyncio.Server:
        """Begin; runs in the control thread's loop."""
        self._control = control
        control.relayed = self._relay.descriptors
        return await asyncio.start_server(self._meet, sock=self._listener, limit=MAX_HEAD_BYTES)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MAX_CONNECTIONS:
            next(iter(self._open)).transport.abort()
        self._open[writer] = None
        try:
            await self._exchange(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()  # it spoke too slowly, too much or not at all
        finally:
            self._open.pop(writer, None)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_SECONDS)
        method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if is_relayed(path.decode("latin-1")):
            self._open.pop(writer)
            error = await self._relay.carry(head, reader, writer)
            if error is None:
                return
            answer = _refusal(error)
        else:
            answer = await self._answer(method, path)
        lines = [
            f"HTTP/1.1 {answer.status}",
            f"content-type: {answer.kind}",
            f"content-length: {len(answer.body)}",
            f"x-headgate-config: {self._generation()}",
            "connection: close",
        ]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + answer.body)
        # Said to the peer and not only to our descriptor, of which a fork may have made another.
        writer.write_eof()
        await asyncio.wait_for(writer.drain(), SEND_SECONDS)
        with suppress(ConnectionError):
            await asyncio.wait_for(reader.read(1), SEND_SECONDS)  # until the peer has it all

    async def _answer(self, method: bytes, path: bytes) -> Answer:
        if method != b"GET":
            return _document("405 Method Not Allowed", {"error": "this listener answers GET only"})
        if path in (b"/health", b"/health/live"):
            return _document("200 OK", {"status": "live", "generation": self._generation()})
        if path == b"/health/ready":
            return self._ready()
        if path == b"/metrics":
            return await self._metrics()
        if path == b"/metrics/shared":
            return await self._shared_metrics()
        return _document("404 Not Found", {"error": "there is nothing at this path"})

    def _ready(self) -> Answer:
        control = self._control
        problems = [
            heard.problem(control.interval) if heard else "starting" for heard in control.heard
        ]
        reason = None
        if control.draining:
            reason = "shutting_down"
        elif None not in problems:
            reason = next((one for one in _REASONS if one in problems), problems[0])
        beats = [heard.beat for heard in control.heard if heard and heard.beat]
        facts: dict[str, object] = {
            "status": "not_ready" if reason else "ready",
            "generation": self._generation(),
            "store": next(
                (b.store for b in beats if b.store != "ok"), "ok" if beats else "unknown"
            ),
            "workers": [
                _facts(slot + 1, control, heard, problem)
                for slot, (heard, problem) in enumerate(zip(control.heard, problems, strict=True))
            ],
        }
        if reason:
            facts["reason"] = reason
        facts |= _details(beats)
        return _document("503 Service Unavailable" if reason else "200 OK", facts)

    async def _metrics(self) -> Answer:
        """What this replica measured: all its workers together."""
        hearings = [h for h in self._control.heard if h and not h.gone]
        told = await asyncio.gather(*(h.metrics(METRICS_SECONDS) for h in hearings))
        if not any(snapshot is not None for snapshot in told):
            return _document("503 Service Unavailable", {"error": _SILENT})
        pids = (hearing.pid for hearing in hearings)
        whole = self._measured.together(dict(zip(pids, told, strict=True)))
        add(whole, WORKERS_READY, "", [self._ready_workers()])
        add(whole, WORKER_RESTARTS, "", [sum(self._control.restarts)])
        return Answer("200 OK", text(whole).encode(), _TEXT)

    async def _shared_metrics(self) -> Answer:
        """The page of the first worker that gives one: the counts in it are those of all."""
        end = asyncio.get_running_loop().time() + METRICS_SECONDS
        asked = sorted((h for h in self._control.heard if h and not h.gone), key=lambda h: h.silent)
        for at, heard in enumerate(asked):
            left = end - asyncio.get_running_loop().time()
            page = await heard.shared_metrics(max(0.0, left) / (len(asked) - at))
            if page is not None:
                return Answer("200 OK", page.encode(), _TEXT)
        return _document("503 Service Unavailable", {"error": _SILENT})

    def _ready_workers(self) -> int:
        control = self._control
        return sum(1 for h in control.heard if h and h.problem(control.interval) is None)


def _details(beats: list[Beat]) -> dict[str, object]:
    """What the workers say is wrong behind them: the first one's word, and every upstream."""
    found: dict[str, object] = {}
    upstreams: dict[str, str] = {}
    for beat in beats:
        upstreams |= beat.details.get("upstreams", {})
        found = beat.details | found
    return found | ({"upstreams": upstreams} if upstreams else {})


def _facts(
    number: int, control: Control, heard: Hearing | None, problem: str | None
) -> dict[str, object]:
    facts: dict[str, object] = {
        "worker": number,
        "status": "not_ready" if problem else "ready",
        "restarts": control.restarts[number - 1],
    }
    if problem:
        facts["reason"] = problem
    if heard is not None:
        facts |= {"pid": heard.pid, "silent_seconds": round(heard.silent, 2)}
        if heard.beat is not None:
            facts |= {"running": heard.beat.running, "lag_ms": round(heard.beat.lag * 1000, 1)}
    return facts


def _refusal(error: GatewayError) -> Answer:
    return Answer(f"{error.status} {HTTPStatus(error.status).phrase}", error.body())


def _document(status: str, facts: dict[str, object]) -> Answer:
    return Answer(status, orjson.dumps(facts))
