"""Flights across processes: a worker that wants what another one is asking mirrors its flight.

The two speak through mailboxes, worker to worker, and only where somebody follows: a flight that
nobody else wants costs the store nothing but its lease. Chunks are numbered, so that a lost message
is noticed; both sides say every quarter of a second that they are still there, so that the death of one is
noticed before the lease runs out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from app.concurrency.listening import ListeningClock, listening_timeout
from app.core.reply import Chunk, StreamEnd
from app.core.units import Digest, NanoDollars
from app.core.usage import Usage
from cache.flights.flights import MAX_BYTES, Flight, Flights, SharedError, worker_of
from cache.store import key_names as names
from cache.store.base import Store, script

if TYPE_CHECKING:
    from cache.store.sealing import Seal

BEAT_SECONDS = 0.25
# Of listening, after which the other side counts as gone: less than the lease, and longer than a
# busy worker's event loop stalls in a burst (1 s was measured with 600 requests at once).
SILENCE_SECONDS = 2.0
WELCOME_SECONDS = 0.25


class _Message(msgspec.Struct, array_like=True, tag=True):
    flight: str


class _Join(_Message):
    worker: str


class _Here(_Message):
    """A follower still follows."""

    worker: str


class _Left(_Message):
    worker: str


class _Alive(_Message):
    """The leader still leads."""


class _Named(_Message):
    provider: str | None
    model: str | None
    streamed: bool


class _Chunks(_Message):
    """Chunks of a stream, one payload a line."""

    number: int
    lines: bytes


class _Completed(_Message):
    """``end`` is the JSON of what the usage event of a stream says; empty for a plain answer."""

    number: int
    body: bytes | None
    prompt_tokens: int
    completion_tokens: int
    estimated: bool
    cost: NanoDollars
    end: bytes


class _Failed(_Message):
    status: int = 0
    code: str | None = None
    body: bytes = b""
    headers: list[tuple[bytes, bytes]] = []


_encode = msgspec.msgpack.Encoder().encode
_Any = _Join | _Here | _Left | _Alive | _Named | _Chunks | _Completed | _Failed
_decode: Callable[[bytes], _Any] = msgspec.msgpack.Decoder(_Any).decode
_decode_members = msgspec.json.Decoder(dict[str, Any]).decode


class _Remote:
    """A worker that mirrors a flight of ours: what it was sent, when it was heard of."""

    def __init__(self, now: float) -> None:
        self.chunks = 0
        self.messages = 0
        self.named = False
        self.heard = now


class Relay:
    """Carries flights between this worker and the others, encrypted where there is a ``seal``."""

    def __init__(self, store: Store, flights: Flights, seal: Seal | None = None) -> None:
        self._store = store
        self._seal = seal
        self._flights = flights
        self._hold = script("hold_flight")
        self._remotes: dict[str, dict[str, _Remote]] = {}
        self._clock = ListeningClock(SILENCE_SECONDS, lambda: None)
        # When the leaders of the flights that we mirror were heard of; None: not yet.
        self._heard: dict[str, float | None] = {}
        self._expected: dict[str, int] = {}  # number of the next message about each of those

    async def join(self, flight_id: str, digest: Digest, tenant: str) -> Flight | None:
        """Mirror another worker's flight, and follow it; None where it does not answer."""
        mirror = self._flights.begin(flight_id, digest, tenant)
        mirror.on_change = self._look_after
        mirror.follow()
        self._heard[flight_id] = None
        self._expected[flight_id] = 0
        self._say(worker_of(flight_id), _Join(flight_id, self._flights.worker))
        try:
            async with listening_timeout(WELCOME_SECONDS):
                while self._heard.get(flight_id) is None and not mirror.over:
                    await mirror.wait_changed()
        except TimeoutError:
            mirror.fail()
        except asyncio.CancelledError:
            mirror.leave()
            raise
        if mirror.failure is not None:
            mirror.leave()
            return None
        return mirror

    def lead(self, flight: Flight) -> None:
        """Look after a flight of our own from now on."""
        flight.on_change = self._carry

    def received(self, data: bytes) -> None:
        """A message from another worker."""
        try:
            if self._seal is not None:
                data = self._seal.open(data, names.mailbox(self._flights.worker).encode())
            message = _decode(data)
        except (msgspec.MsgspecError, ValueError):
            return  # of another release or key: whoever needed it will notice the gap
        flight = self._flights.by_id(message.flight)
        if isinstance(message, _Join | _Here | _Left):
            self._from_follower(message, flight)
        elif flight is not None and not self._flights.leads(flight):
            self._heard[flight.id] = self._clock.now
            self._from_leader(message, flight)

    async def keep_beating(self) -> None:
        """Hold the leases, say that we are here, notice who is not, while this task runs."""
        self._clock.start()
        try:
            while True:
                await asyncio.sleep(BEAT_SECONDS)
                self.beat()
        finally:
            self._clock.stop()

    def beat(self) -> None:
        """One round."""
        now = self._clock.now
        for flight in self._flights.all():
            if self._flights.leads(flight):
                if not flight.over:
                    self._hold_on(flight, now)
            elif (
                heard := self._heard.get(flight.id)
            ) is not None and now - heard > SILENCE_SECONDS:
                flight.fail()
            elif flight.followers:
                self._say(worker_of(flight.id), _Here(flight.id, self._flights.worker))

    def _hold_on(self, flight: Flight, now: float) -> None:
        key = names.flight(flight.tenant, flight.digest.hex())
        self._store.tell(self._hold, [key], [flight.id, names.FLIGHT_LEASE_MS])
        for worker, remote in list(self._remotes.get(flight.id, {}).items()):
            if now - remote.heard > SILENCE_SECONDS:
                self._gone(flight, worker)
            else:
                self._say(worker, _Alive(flight.id))

    def _from_follower(self, message: _Join | _Here | _Left, flight: Flight | None) -> None:
        worker = message.worker
        joins = isinstance(message, _Join)
        if flight is None or not self._flights.leads(flight) or (joins and not flight.joinable):
            if isinstance(message, _Join):
                self._say(worker, _Failed(message.flight))
            return
        known = self._remotes.get(flight.id, {}).get(worker)
        if isinstance(message, _Join):
            # One who joins again has lost what it had, and begins anew.
            self._remotes.setdefault(flight.id, {})[worker] = _Remote(self._clock.now)
            if known is None:
                flight.remotes += 1
                flight.follow()
            self._say(worker, _Alive(flight.id))
            self._carry(flight)
        elif isinstance(message, _Left):
            self._gone(flight, worker)
        elif known is not None:
            known.heard = self._clock.now

    def _gone(self, flight: Flight, worker: str) -> None:
        if self._remotes.get(flight.id, {}).pop(worker, None) is not None:
            flight.remotes -= 1
            flight.leave()

    def _carry(self, flight: Flight) -> None:
        """Send every follower what it has not been sent."""
        remotes = self._remotes.get(flight.id)
        if flight.over:
            self._remotes.pop(flight.id, None)
        for worker, remote in (remotes or {}).items():
            if not remote.named and flight.provider is not None:
                remote.named = True
                named = _Named(flight.id, flight.provider, flight.model, flight.streamed)
                self._say(worker, named)
            if remote.chunks < flight.end:
                lines = b"\n".join([chunk.payload for chunk in flight.chunks(remote.chunks)])
                self._say(worker, _Chunks(flight.id, remote.messages, lines))
                remote.chunks = flight.end
                remote.messages += 1
            completed = flight.completed
            if completed is not None and len(completed.body or b"") > MAX_BYTES:
                self._say(worker, _Failed(flight.id))  # too much for a message
            elif completed is not None:
                body, usage, cost, end = completed
                said = orjson.dumps(end.members) if end is not None else b""
                self._say(
                    worker, _Completed(flight.id, remote.messages, body, *usage[:3], cost, said)
                )
            elif flight.failure is not None:
                error = flight.failure.error
                known = () if error is None else (*error[:3], list(error.headers))
                self._say(worker, _Failed(flight.id, *known))

    def _from_leader(
        self, message: _Alive | _Named | _Chunks | _Completed | _Failed, flight: Flight
    ) -> None:
        if isinstance(message, _Named):
            flight.set_origin(
                message.provider or "", message.model or "", streamed=message.streamed
            )
        elif (
            isinstance(message, _Chunks | _Completed)
            and message.number != self._expected[flight.id]
        ):
            flight.fail()  # something was lost
        elif isinstance(message, _Chunks):
            self._expected[flight.id] += 1
            flight.publish([Chunk(line) for line in message.lines.split(b"\n")])
        elif isinstance(message, _Completed):
            usage = Usage(message.prompt_tokens, message.completion_tokens, message.estimated)
            try:
                end = StreamEnd(usage, _decode_members(message.end)) if message.end else None
            except (msgspec.MsgspecError, UnicodeDecodeError):
                flight.fail()  # of another release
                return
            flight.complete(message.body, usage, message.cost, end)
        elif isinstance(message, _Failed):
            headers = tuple((bytes(name), bytes(value)) for name, value in message.headers)
            known = SharedError(message.status, message.code, message.body, headers)
            flight.fail(known if message.status else None)
        else:
            flight.notify_all()

    def _look_after(self, mirror: Flight) -> None:
        """A mirror that is over, or that nobody follows, is given up."""
        if mirror.over or not mirror.followers:
            mirror.on_change = None
            self._heard.pop(mirror.id, None)
            self._expected.pop(mirror.id, None)
            self._flights.end(mirror)
            if mirror.completed is None:
                self._say(worker_of(mirror.id), _Left(mirror.id, self._flights.worker))
            mirror.fail()

    def _say(self, worker: str, message: _Message) -> None:
        channel, data = names.mailbox(worker), _encode(message)
        if self._seal is not None:
            data = self._seal.close(data, channel.encode())
        self._store.publish(channel, data)
