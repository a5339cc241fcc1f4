"""Answers under way (singleflight): who asks the same thing meanwhile follows instead of asking again.

One worker leads a flight: it holds a lease in the store, and everything its upstream says goes
through here. Followers read from the beginning, as it comes. ``cache.flights.relay`` carries a flight
to the workers of other processes, where it is mirrored as a flight of the same kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import getrandbits
from typing import NamedTuple

from app.core.reply import Chunk, StreamEnd
from app.core.units import Digest, NanoDollars
from app.core.usage import Usage

MAX_BYTES = 8 << 20  # of a stream that are kept for those who come later or read slowly
AHEAD_BYTES = 256 << 10  # how far a stream runs ahead of its fastest reader


class Failure(NamedTuple):
    """Why there is no answer. With ``error`` (an answer to send as it is) it may be shared.

    Without one it was the leader's own affair: its money, its leaving, its death.
    """

    error: SharedError | None = None


class SharedError(NamedTuple):
    status: int
    code: str | None
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]


class Completed(NamedTuple):
    """A whole answer: a plain one by its ``body``, a stream by its chunks and its ``end``."""

    body: bytes | None
    usage: Usage
    cost: NanoDollars
    end: StreamEnd | None = None


class Lagged(Exception):
    """A reader was too slow for what a flight can keep."""


class Flight:
    """One call to an upstream, and everybody who waits for it."""

    def __init__(self, flight_id: str, digest: Digest, tenant: str) -> None:
        self.id = flight_id
        self.digest = digest
        self.tenant = tenant
        self.provider: str | None = None
        self.model: str | None = None
        self.streamed = False
        self.completed: Completed | None = None
        self.failure: Failure | None = None
        self.followers = 0
        self.remotes = 0  # how many of them are other workers
        self.waiting_for_all = 0  # and how many want nothing before the end
        self.on_change: Callable[[Flight], None] | None = None  # whoever carries it elsewhere
        self._chunks: list[Chunk] = []
        self._first = 0  # number of the first chunk that is still kept
        self._bytes = 0
        self._said = 0  # bytes, ever
        self._readers: list[Reader] = []
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def over(self) -> bool:
        return self.completed is not None or self.failure is not None

    @property
    def joinable(self) -> bool:
        """Whether everything from the beginning is still here."""
        return not self._first and self.failure is None

    @property
    def end(self) -> int:
        """How many chunks there were so far."""
        return self._first + len(self._chunks)

    def chunks(self, start: int = 0) -> list[Chunk]:
        """The chunks from number ``start`` on, as far as they are still here."""
        return self._chunks[max(0, start - self._first) :]

    def set_origin(self, provider: str, model: str, *, streamed: bool) -> None:
        """The upstream has begun to answer."""
        self.provider, self.model, self.streamed = provider, model, streamed
        self.notify_all()

    def publish(self, chunks: Sequence[Chunk]) -> None:
        """More of a streamed answer."""
        size = sum(map(len, chunks))
        self._chunks += chunks
        self._bytes += size
        self._said += size
        self.notify_all()
        if self._bytes > MAX_BYTES:
            self._trim()

    async def wait_for_readers(self) -> None:
        """Wait while nobody reads as fast as the upstream speaks."""
        while not (self.over or self.remotes or self.waiting_for_all):
            readers = [reader for reader in self._readers if reader.position >= self._first]
            if not readers or min(reader.bytes_behind for reader in readers) < AHEAD_BYTES:
                return
            await self.wait_changed()

    def complete(
        self, body: bytes | None, usage: Usage, cost: NanoDollars, end: StreamEnd | None = None
    ) -> None:
        """The answer is whole."""
        if not self.over:
            self.completed = Completed(body, usage, cost, end)
            self.notify_all()

    def fail(self, error: SharedError | None = None) -> None:
        """There will be no answer from this call; nothing where it is over already."""
        if not self.over:
            self.failure = Failure(error)
            self.notify_all()

    def follow(self) -> None:
        self.followers += 1

    def leave(self) -> None:
        self.followers -= 1
        self.notify_all()

    async def unfollowed(self) -> None:
        """Wait until nobody follows or it is over."""
        while self.followers and not self.over:
            await self.wait_changed()

    async def wait_changed(self) -> None:
        """Wait for whatever happens next."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    def reader(self) -> Reader:
        """Reads from the beginning; give it back with ``done``."""
        reader = Reader(self)
        self._readers.append(reader)
        return reader

    def forget(self, reader: Reader) -> None:
        if reader in self._readers:
            self._readers.remove(reader)
            self.notify_all()

    def notify_all(self) -> None:
        """Wake who waits in this worker, and whoever carries the flight to others."""
        self.notify_local()
        if self.on_change is not None:
            self.on_change(self)

    def notify_local(self) -> None:
        """Wake who waits in this worker for the flight to change."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _trim(self) -> None:
        """Too much to keep: give up those who are behind the fastest, then whoever is."""
        keep = max((reader.position for reader in self._readers), default=self.end)
        gone = 0  # one cut and not a pop each: a list moves all that follows
        for chunk in self._chunks:
            if self._first + gone >= keep and self._bytes <= MAX_BYTES:
                break
            self._bytes -= len(chunk)
            gone += 1
        del self._chunks[:gone]
        self._first += gone


class Reader:
    """One reader's place in a flight."""

    def __init__(self, flight: Flight) -> None:
        self._flight = flight
        self.position = 0
        self._read = 0  # bytes

    @property
    def bytes_behind(self) -> int:
        flight = self._flight
        return min(flight._bytes, flight._said - self._read)  # noqa: SLF001 - one thing in two classes

    async def next(self) -> list[Chunk]:
        """The chunks since the last time; none where the flight is over. Raises Lagged."""
        flight = self._flight
        while True:
            if self.position < flight._first:  # noqa: SLF001 - one thing in two classes
                raise Lagged
            chunks = flight.chunks(self.position)
            if chunks:
                self.position += len(chunks)
                self._read += sum(map(len, chunks))
                flight.notify_local()  # whoever waits for room
                return chunks
            if flight.over:
                return []
            await flight.wait_changed()

    def done(self) -> None:
        self._flight.forget(self)


class Flights:
    """The flights that this worker leads or mirrors; found by the fingerprint of what was asked."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self._by_digest: dict[Digest, Flight] = {}
        self._by_id: dict[str, Flight] = {}
        self._count = 0

    def find(self, digest: Digest) -> Flight | None:
        """A flight to follow from its beginning."""
        flight = self._by_digest.get(digest)
        return flight if flight is not None and flight.joinable else None

    def by_id(self, flight_id: str) -> Flight | None:
        return self._by_id.get(flight_id)

    def new_id(self) -> str:
        """An id that says which worker leads."""
        self._count += 1
        return f"{self.worker}.{self._count}"

    def begin(self, flight_id: str, digest: Digest, tenant: str) -> Flight:
        """Lead a flight, or mirror another worker's."""
        flight = Flight(flight_id, digest, tenant)
        self._by_digest[digest] = self._by_id[flight_id] = flight
        return flight

    def end(self, flight: Flight) -> None:
        """Nobody else can find it any more."""
        self._by_id.pop(flight.id, None)
        if self._by_digest.get(flight.digest) is flight:
            del self._by_digest[flight.digest]

    def leads(self, flight: Flight) -> bool:
        """Whether this worker made the call."""
        return worker_of(flight.id) == self.worker

    def all(self) -> list[Flight]:
        return list(self._by_id.values())


def worker_of(flight_id: str) -> str:
    """The worker that leads a flight."""
    return flight_id.rpartition(".")[0]


def worker_name(pid: int) -> str:
    """A name that no other worker has; the process id helps a person to find it."""
    return f"{pid}-{getrandbits(64):016x}"
