"""The audit log's part of a worker: what it takes from requests, and whom it tells what it wrote."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from time import time
from typing import Any

import orjson
import structlog

from app.config.audit import Audit
from app.config.checks.references import key_digests
from app.config.settings import Settings
from app.connections.client_address import TrustedProxies
from app.core.call import Call
from app.core.errors import Unavailable
from app.core.exchange import Exchange
from app.core.keys import presented_secret
from app.core.usage import Counts
from app.observability.audit.acts import Acts, NotRecorded
from app.observability.audit.opening import note_broken_chains, open_acts, open_requests
from app.observability.audit.records import Finished
from app.observability.audit.requests import RequestAudit, Written
from cache.registry.registry import Registry
from cache.store.base import Store, script
from cache.store.key_names import AUDIT_STREAM
from middleware.asgi.audit_gate import CODE as REFUSED
from middleware.asgi.auth import MAX_SECRET_BYTES

RECORDS = "headgate_audit_records_total"
LOST = "headgate_audit_lost_total"
GAPS = "headgate_audit_gaps_total"
# Refusals of keys that are over, and the act that the use of one is.
_LATE = {
    "expired_api_key": "key.used_after_expiry",
    "blocked_api_key": "key.used_while_blocked",
    "invalid_api_key": "key.used_after_removal",
}
LATE_SECONDS = 3600.0  # between two records of one key that is used after its end
MAX_LATE = 1_000
MAX_FORMER = 10_000


class Audited:
    """The audit log of one worker; lives as long as the worker."""

    def __init__(
        self, settings: Audit, proxies: TrustedProxies, store: Store, counts: Counts
    ) -> None:
        """Raises OSError where the log's folders cannot be made."""
        self._settings = settings
        self._proxies = proxies
        self._store = store
        self._counts = counts
        self._stream = script("audit")
        self.acts: Acts = open_acts(settings)
        self.requests: RequestAudit = open_requests(settings)
        self._registry: Registry | None = None
        self._keys: dict[bytes, str] = {}
        self._former: OrderedDict[bytes, str] = OrderedDict()
        self._late: OrderedDict[str, float] = OrderedDict()
        self._running: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def serve(self, settings: Settings) -> None:
        """Remember the keys that a configuration, the first or a new one, no longer has."""
        now = {digest: key.id for key in settings.keys for digest in key_digests(key)}
        for digest, key_id in self._keys.items():
            if digest not in now:
                self._former[digest] = key_id
        for digest in now:
            self._former.pop(digest, None)
        while len(self._former) > MAX_FORMER:
            self._former.popitem(last=False)
        self._keys = now

    def attach(self, registry: Registry) -> None:
        """From now on no operator changes an object without a word in this log."""
        self._registry = registry
        registry.objects.witness = self._witness

    async def _witness(self, record: bytes, made: bool) -> None:
        """Write down a change through the admin API; raises Unavailable where that cannot be done."""
        facts = orjson.loads(record)
        actor = {"admin_key": facts.pop("actor", None), "address": facts.pop("address", None)}
        act, target = str(facts.pop("action", "unknown")), facts.pop("object_id", None)
        facts["of"] = facts.pop("kind", None)  # a record has a kind of its own
        try:
            await self.act(act, actor, target, **facts, not_made=None if made else True)
        except NotRecorded as error:
            structlog.get_logger("headgate").warning("audit_act_refused", reason=str(error))
            raise Unavailable(
                "The audit log cannot take a record of this change, so it was not made.",
                code=REFUSED,
            ) from None

    def start(self) -> None:
        """Begin; needs a running loop. Raises OSError where the log cannot be written."""
        note_broken_chains(self._settings, self.acts)
        self._loop = asyncio.get_running_loop()
        self.requests.told = self._hand_over
        self.requests.start()

    async def aclose(self) -> None:
        """Write what waits, and that the chain ends here."""
        await asyncio.to_thread(self.requests.stop)

    def is_full(self) -> bool:
        """Whether requests are to be refused, because they could not be recorded."""
        return self.requests.full

    def under(self, generation: str) -> Sink:
        """What takes the requests that run on this configuration."""
        return Sink(self, generation)

    def take(
        self, exchange: Exchange | Call, facts: dict[str, Any], generation: str, address: str
    ) -> None:
        """Hand a request that is over to the writer; runs on the loop."""
        error, requests = facts["error"], self.requests
        if error == REFUSED:
            requests.refused()
            return
        if exchange.outcome.unlogged:
            requests.unlogged()
            return
        if error in _LATE:
            self._look_at_key(exchange, facts, address)
        sent = shown = None
        answer: tuple[str, ...] = ()
        if requests.wants_texts:
            outcome = exchange.outcome
            sent = exchange.body
            shown = sent if outcome.shown is None else outcome.shown
            answer = tuple(outcome.text or ())
        requests.add(Finished(time(), facts.copy(), generation, address, sent, shown, answer))

    def address_of(self, exchange: Exchange) -> str:
        """Where a request came from, by what our proxies say."""
        forwarded = exchange.headers.get(b"x-forwarded-for")
        return self._proxies.client(exchange.peer, forwarded) if forwarded else exchange.peer

    async def act(
        self,
        act: str,
        actor: Mapping[str, Any],
        target: str | None = None,
        before: Any = None,
        after: Any = None,
        **more: Any,
    ) -> None:
        """Write down an operator's act before it is done; returns when the disk has it.

        Secrets only as their ``fingerprint`` (`app.observability.audit.records`). Raises
        NotRecorded: then the act must not be done.
        """
        work = partial(self.acts.record, act, actor, target, before, after, **more)
        await asyncio.to_thread(work)
        self._counts.add(RECORDS, {"kind": "act"})

    def _look_at_key(self, exchange: Exchange | Call, facts: dict[str, Any], address: str) -> None:
        """Write down, once an hour, that a key is used after its end."""
        act, key_id = _LATE[facts["error"]], facts["key"]
        if key_id is None:
            secret = presented_secret(exchange.headers)
            if len(secret) <= MAX_SECRET_BYTES:
                key_id = self._key_of(hashlib.sha256(secret).digest())
        now = time()
        if key_id is None or now - self._late.get(key_id, 0.0) < LATE_SECONDS:
            return
        self._late[key_id] = now
        self._late.move_to_end(key_id)
        if len(self._late) > MAX_LATE:
            self._late.popitem(last=False)
        said = {"request_id": facts["request_id"]}
        task = asyncio.get_running_loop().create_task(
            self._act_if_possible(act, {"address": address}, key_id, **said)
        )
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _key_of(self, digest: bytes) -> str | None:
        """Whose secret this was, or is: a key of an earlier file, or one made at run time."""
        former = self._former.get(digest)
        if former is not None or self._registry is None:
            return former
        found = self._registry.snapshot.find(digest)
        return found.id if found is not None else None

    async def _act_if_possible(self, act: str, *args: Any, **said: Any) -> None:
        """Write down what happened already, whether or not we like it."""
        try:
            await self.act(act, *args, **said)
        except NotRecorded as error:
            structlog.get_logger("headgate").warning("audit_act_lost", reason=str(error))

    def _hand_over(self, written: Written) -> None:
        """Called in the writer's thread."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._told, written)
        except RuntimeError:
            return  # the loop is closed: the last lines of a chain are in its file

    def _told(self, written: Written) -> None:
        if written.requests:
            self._counts.add(RECORDS, {"kind": "request"}, written.requests)
        if written.gaps:
            self._counts.add(GAPS, {}, written.gaps)
        if written.lost:
            self._counts.add(LOST, {}, written.lost)
        if not self._settings.stream:
            return
        length = self._settings.stream_length
        for start in range(0, len(written.lines), 100):
            lines = written.lines[start : start + 100]
            self._store.tell(self._stream, [AUDIT_STREAM], [length, "record", *lines])
        if written.checkpoint is not None:
            line = written.checkpoint
            self._store.tell(self._stream, [AUDIT_STREAM], [length, "checkpoint", line])


class Sink:
    """Takes the requests of one configuration."""

    __slots__ = ("_audited", "_generation", "wants_texts")

    def __init__(self, audited: Audited, generation: str) -> None:
        self._audited = audited
        self._generation = generation
        self.wants_texts = audited.requests.wants_texts

    def __call__(self, exchange: Exchange | Call, facts: dict[str, Any]) -> None:
        audited = self._audited
        # A call that the gateway makes for itself, beside a request, comes from nowhere.
        address = audited.address_of(exchange) if isinstance(exchange, Exchange) else ""
        audited.take(exchange, facts, self._generation, address)
