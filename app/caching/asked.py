"""One request as the cache sees it: its prompts' fingerprints, and what is known of their answers."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from time import monotonic
from typing import TYPE_CHECKING

from app.caching.plans import CachePlan, Where
from app.core.cache_control import Wishes
from app.core.completions import CompletionRequest
from app.core.errors import HeaderList, UpstreamError
from app.core.exchange import Exchange
from app.core.stored_answer import Stored

if TYPE_CHECKING:
    from app.caching.question import Question


def is_outage(status: int) -> bool:
    """Whether an upstream's failure is its own, so that an old answer is better."""
    return status >= 500 or status == 429


class Asked:
    """What was asked and what was found. Times are the store's, in milliseconds.

    ``missing`` are the places of the prompts without a fresh answer.
    """

    def __init__(self, exchange: Exchange, plan: CachePlan, wishes: Wishes, where: Where) -> None:
        request = exchange.request
        assert request is not None
        self.exchange = exchange
        self.plan = plan
        self.wishes = wishes
        self.where = where
        self.place = where.place
        self.headers: HeaderList = []  # the caller's, where they may change the answer
        self.request: CompletionRequest = request
        self.include_usage = request.include_usage
        self.continuous_usage = request.stream_options.get("continuous_usage_stats") is True
        self.now = 0
        self.looked_at = 0.0  # monotonic seconds of the last lookup
        self.from_shelf = False
        self.question: Question | None = None  # what may be answered by meaning
        self.epoch = 0  # of the shelf, before anything was looked up
        self.entries: Sequence[Stored | None] = ()
        self.digests = []

    @property
    def digests(self) -> list[bytes]:
        """The fingerprint of each prompt."""
        return self._digests

    @digests.setter
    def digests(self, digests: list[bytes]) -> None:
        self._digests = digests
        self.missing = list(range(len(digests)))

    @property
    def keeps(self) -> bool:
        """Whether a new answer may be kept at all: if not, nobody should fetch one to renew it."""
        ttl = self.wishes.ttl
        return self.wishes.write and ttl != 0 and (ttl is not None or bool(self.plan.ttl))

    @property
    def may_share(self) -> bool:
        """Whether this request may lead or follow a flight."""
        wishes = self.wishes
        return (
            wishes.read
            and wishes.write
            and not wishes.only_if_cached
            and not self.continuous_usage
            and self.plan.may_coalesce(self.request)
        )

    @property
    def flight_digest(self) -> bytes:
        """What a call for the missing prompts is found by."""
        missing = [self.digests[place] for place in self.missing]
        if len(missing) == 1:
            return missing[0]
        return blake2b(b"".join(missing), digest_size=32).digest()

    def found(self, now: int, entries: Sequence[Stored | None]) -> None:
        """Take the outcome of a lookup."""
        self.now, self.entries, self.looked_at = now, entries, monotonic()
        self.missing = [
            place
            for place, entry in enumerate(entries)
            if entry is None or not self.is_fresh(entry)
        ]

    def is_fresh(self, entry: Stored) -> bool:
        """Whether an entry may answer this request now."""
        age = self.wishes.max_age
        return self.now < entry.fresh and (age is None or self.now - entry.stored <= age * 1000)

    @property
    def known(self) -> dict[int, bytes]:
        """The fresh answers, by place."""
        missing = set(self.missing)
        return {
            place: entry.body
            for place, entry in enumerate(self.entries)
            if entry is not None and place not in missing
        }

    def all_within(self, *, error: bool) -> list[Stored] | None:
        """Every answer, fresh or stale: for now, or because a new one cannot be had."""
        whole = []
        for place, entry in enumerate(self.entries):
            if entry is None:
                return None
            until = entry.on_error if error else entry.revalidate
            # A caller who names an age does not want an older one, whatever the reason.
            if place in self.missing and (self.now >= until or self.wishes.max_age is not None):
                return None
            whole.append(entry)
        return whole

    def stale_for(self, error: object) -> list[Stored] | None:
        """Stale answers that are better than this failure of the upstream."""
        if isinstance(error, UpstreamError) and is_outage(error.status):
            return self.all_within(error=True)
        return None

    def ask_for_missing(self) -> None:
        """From here on the request is for the missing prompts only, and in the house form."""
        if len(self.missing) < len(self.digests):
            self.exchange.request = self.request.of_prompts(self.missing)
        request = self.exchange.request
        assert request is not None
        request.bind_max_tokens = True  # what the fingerprint says must be what is asked
        if request.stream and not self.continuous_usage:
            request.stream_options = {**request.stream_options, "include_usage": True}
