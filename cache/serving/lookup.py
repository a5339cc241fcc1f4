"""One request as the cache sees it: its prompts' fingerprints, and what is known of their answers."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from time import monotonic

from app.core.call import Call
from app.core.errors import HeaderList, UpstreamError
from app.core.request import ModelRequest
from app.core.units import Digest, Millis
from cache.answers.directives import CacheDirectives
from cache.answers.entry import CacheEntry
from cache.semantic.query import SemanticQuery
from cache.serving.plan import CachePlan, Where


def is_outage(status: int) -> bool:
    """Whether an upstream's failure is its own, so that an old answer is better."""
    return status >= 500 or status == 429


class CacheLookup:
    """What was asked and what was found. Times are the store's, in milliseconds.

    ``entries`` stand in the order of the prompts; ``missing`` are the positions of the prompts
    without a fresh answer. ``from_local`` says that the entries come from this worker's own cache,
    ``epoch`` is that cache's, before anything was looked up.
    """

    def __init__(
        self, call: Call, plan: CachePlan, directives: CacheDirectives, where: Where
    ) -> None:
        self.call = call
        self.plan = plan
        self.directives = directives
        self.where = where
        self.place = where.place
        self.request = call.request
        self.family = call.family
        self.headers: HeaderList = []  # the caller's, where they may change the answer
        self.now = Millis(0)
        self.looked_at = 0.0  # monotonic seconds of the last lookup
        self.from_local = False
        self.epoch = 0
        self.query: SemanticQuery | None = None  # what may be answered by meaning
        self.entries: Sequence[CacheEntry | None] = ()
        self.digests: list[Digest] = []  # the fingerprint of each prompt
        self.missing: list[int] = []

    def identify(self, digests: list[Digest]) -> None:
        """Take the fingerprint of each prompt: nothing is known of their answers yet."""
        self.digests = digests
        self.missing = list(range(len(digests)))

    @property
    def max_age(self) -> int | None:
        """The greatest age, in seconds, of an answer that will do."""
        return self.directives.max_age

    @property
    def threshold(self) -> float:
        """The least similarity that will do, where answers are found by it."""
        return self.directives.threshold or 0.0

    @property
    def asked(self) -> ModelRequest:
        """The request in its caller's own words, without what retrieval put into it."""
        context = self.call.context
        return self.request if context is None else context.asked

    def partition(self, also: str) -> bytes:
        """What another request must have in common to be compared with this one by meaning: what
        retrieval put into it, too."""
        context = self.call.context
        if context is not None:
            also = f"{also}/context:{context.identity.hex()}"
        return self.where.partition(self.asked, also, self.headers)

    @property
    def policy(self) -> str:
        """The rules that an answer must have passed, as an entry names them."""
        guards = self.call.guards
        return guards.policy.hex() if guards is not None else ""

    @property
    def storable(self) -> bool:
        """Whether a new answer may be kept at all: if not, nobody should fetch one to renew it."""
        ttl = self.directives.ttl
        return self.directives.write and ttl != 0 and (ttl is not None or bool(self.plan.ttl))

    @property
    def may_coalesce(self) -> bool:
        """Whether others may have the answer while it is being made."""
        directives, allowed = self.directives, self.plan.coalesce
        return (
            (allowed == "all" or (allowed == "deterministic" and not self.request.sampled))
            and directives.read
            and directives.write
            and not directives.only_if_cached
            and not self.request.continuous_usage
        )

    @property
    def flight_digest(self) -> Digest:
        """What a call for the missing prompts is found by."""
        missing = [self.digests[position] for position in self.missing]
        guards = self.call.guards
        if guards is not None and guards.policy:
            missing.append(Digest(guards.policy))  # an answer passes the leader's rules only
        if len(missing) == 1:
            return missing[0]
        return Digest(blake2b(b"".join(missing), digest_size=32).digest())

    @property
    def partial(self) -> bool:
        """Whether some of the prompts have a fresh answer and others not."""
        return len(self.missing) < len(self.digests)

    def again(self, call: Call) -> CacheLookup:
        """The same look-up for another call of the same request, such as one in the background."""
        other = CacheLookup(call, self.plan, self.directives, self.where)
        other.headers = self.headers
        other.identify(self.digests)
        return other

    def found(self, now: Millis, entries: Sequence[CacheEntry | None]) -> None:
        """Take the outcome of a look into the store."""
        self.now, self.entries, self.looked_at = now, entries, monotonic()
        self.missing = [
            position
            for position, entry in enumerate(entries)
            if entry is None or not self.is_fresh(entry)
        ]

    def is_fresh(self, entry: CacheEntry) -> bool:
        """Whether an entry may answer this request now."""
        age = self.directives.max_age
        return self.now < entry.fresh and (age is None or self.now - entry.stored <= age * 1000)

    @property
    def fresh(self) -> dict[int, CacheEntry]:
        """The fresh entries by position."""
        missing = set(self.missing)
        return {
            position: entry
            for position, entry in enumerate(self.entries)
            if entry is not None and position not in missing
        }

    @property
    def known(self) -> dict[int, bytes]:
        """The fresh plain answers by position."""
        return {position: entry.body for position, entry in self.fresh.items()}

    def all_within(self, *, error: bool) -> list[CacheEntry] | None:
        """Every answer, fresh or stale: for now, or because a new one cannot be had."""
        whole = []
        for position, entry in enumerate(self.entries):
            if entry is None:
                return None
            until = entry.on_error if error else entry.revalidate
            # A caller who names an age does not want an older one, whatever the reason.
            too_old = self.now >= until or self.directives.max_age is not None
            if position in self.missing and too_old:
                return None
            whole.append(entry)
        return whole

    def stale_for(self, error: object) -> list[CacheEntry] | None:
        """Stale answers that are better than this failure of the upstream."""
        if isinstance(error, UpstreamError) and is_outage(error.status):
            return self.all_within(error=True)
        return None

    def call_for_missing(self) -> Call:
        """The call to make: for the missing prompts only, and as the fingerprint says it is."""
        request = self.request.of_prompts(self.missing) if self.partial else self.request
        return self.call.with_request(request.bound())

    def set_status(self, status: str) -> None:
        """Say what the cache did (``hit``, ``miss`` …), to the caller and in the record."""
        self.call.outcome.cache = status
        self.call.reply_headers.append((b"x-headgate-cache", status.encode()))
