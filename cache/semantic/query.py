"""One request as the semantic cache sees it: what is compared, and all that must be equal."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple, Protocol

from app.core.errors import HeaderList
from app.core.family import Family
from app.core.request import ModelRequest
from app.core.units import Digest, Millis
from cache.answers.entry import CacheEntry
from cache.answers.shared_tier import Place
from cache.semantic.canonical import Form, Reading, read
from cache.semantic.feedback_ids import FeedbackIds, Served
from cache.semantic.plan import MeaningPlan, Tier

TIER_2_WORDS = 60


class Match(NamedTuple):
    """An entry that may answer another prompt than its own; ``similarity`` is a cosine."""

    tier: Tier
    entry: CacheEntry
    digest: Digest
    similarity: float | None = None


class Lookup(Protocol):
    """What the semantic cache needs of a request's look-up; times are the store's milliseconds."""

    request: ModelRequest
    family: Family
    place: Place
    now: Millis

    @property
    def asked(self) -> ModelRequest:
        """The request in its caller's own words."""
        ...

    @property
    def digests(self) -> list[Digest]:
        """The exact fingerprint of each prompt."""
        ...

    @property
    def max_age(self) -> int | None:
        """The greatest age, in seconds, of an answer that will do."""
        ...

    @property
    def policy(self) -> str:
        """The rules that an answer must have passed, as an entry names them."""
        ...

    @property
    def threshold(self) -> float:
        """The least similarity that will do."""
        ...

    def partition(self, also: str) -> bytes:
        """What must be equal besides the text that is compared."""
        ...

    def is_fresh(self, entry: CacheEntry) -> bool: ...


class SemanticQuery:
    """What a request asks, beside everything that it fixes.

    ``key`` is by the strict rules and ``wide_key`` by the wide ones; either may be None, not both.
    ``would_be`` is a match that was found but not served, ``refused`` one that the guard vetoed and
    the veto: when our own answer arrives, both are compared with it for nothing.
    """

    def __init__(self, lookup: Lookup, plan: MeaningPlan, text: str, reading: Reading) -> None:
        self.lookup = lookup
        self.plan = plan
        self.text = text
        self.form = reading.strict if isinstance(reading.strict, Form) else None
        self.rules = reading.wide.rules if reading.wide is not None else ()
        self.partition = lookup.partition(plan.also)
        self.key = self._hashed(b"", self.form.key) if self.form is not None else None
        wide = reading.wide if plan.wide else None
        # The prefix keeps the two kinds of keys apart: no strict key begins with a line end.
        self.wide_key = self._hashed(b"\nwide\n", wide.key) if wide is not None else None
        self.vector: bytes | None = None
        self.would_be: Match | None = None
        self.refused: tuple[CacheEntry, bytes, str] | None = None

    @property
    def keys(self) -> list[tuple[Tier, bytes]]:
        """The keys by which an answer may be found, the strictest first."""
        keys: list[tuple[Tier, bytes | None]] = [("1", self.key), ("1b", self.wide_key)]
        return [(tier, key) for tier, key in keys if key is not None]

    def _hashed(self, prefix: bytes, key: str) -> bytes:
        # A prompt may hold half of a surrogate pair's escape; UTF-8 cannot say it.
        said = self.partition + prefix + key.encode(errors="surrogatepass")
        return blake2b(said, digest_size=32).digest()

    def text_of(self, body: bytes) -> str:
        """What of a plain answer is compared."""
        return self.lookup.family.answer_text(body)

    @property
    def tenant(self) -> str:
        return self.lookup.place.tenant

    @property
    def digest(self) -> Digest:
        """The exact fingerprint of what was asked."""
        return self.lookup.digests[0]


def query_of(lookup: Lookup, plan: MeaningPlan) -> SemanticQuery | None:
    """The query in a request; None where it must be met exactly."""
    request = lookup.asked
    if request.sampled and not plan.reuse_sampled:
        return None
    text = lookup.family.semantic_text(request)
    if text is None:
        return None
    if plan.ignore is not None:
        text = plan.ignore.without(text)
    reading = read(text, plan.languages)
    if not isinstance(reading.strict, Form) and (reading.wide is None or not plan.wide):
        return None
    return SemanticQuery(lookup, plan, text, reading)


def match_headers(query: SemanticQuery, match: Match, ids: FeedbackIds) -> HeaderList:
    """How an answer was found, for the caller; the id is what feedback names it by."""
    signed = ids.sign(Served(query.tenant, query.digest, match.digest))
    similarity = 1.0 if match.similarity is None else match.similarity
    return [
        (b"x-headgate-cache-layer", b"semantic"),
        (b"x-headgate-cache-tier", match.tier.encode()),
        (b"x-headgate-cache-similarity", b"%.4f" % similarity),
        *([(b"x-headgate-cache-id", signed)] if signed is not None else []),
    ]
