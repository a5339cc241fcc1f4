"""One request as it may be answered by meaning: what is compared, and all that must be equal."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

import orjson

from app.caching.asked import Asked
from app.caching.meaning_plan import MeaningPlan
from app.caching.plans import is_sampled
from app.core.canonical import Form, canonical
from app.core.errors import HeaderList
from app.core.meaning import fuzzy_text
from app.core.stored_answer import Stored
from cache.feedback_ids import FeedbackIds, Served

TIER_2_WORDS = 60


class Match(NamedTuple):
    """An entry that may answer another prompt than its own; ``similarity`` is a cosine."""

    tier: int
    entry: Stored
    digest: bytes
    similarity: float | None = None


class Question:
    """What a request asks, beside everything that it fixes.

    ``would_be`` is a match that was found but not served, ``refused`` one that the guard vetoed and
    the veto: when our own answer arrives, both are compared with it for nothing.
    """

    def __init__(self, asked: Asked, plan: MeaningPlan, text: str, form: Form) -> None:
        self.asked = asked
        self.plan = plan
        self.text = text
        self.form = form
        self.partition = asked.where.partition(asked.request, plan.also, asked.headers)
        # A prompt may hold half of a surrogate pair's escape; UTF-8 cannot say it.
        said = form.key.encode(errors="surrogatepass")
        self.key = blake2b(self.partition + said, digest_size=32).digest()
        self.vector: bytes | None = None
        self.would_be: Match | None = None
        self.refused: tuple[Stored, bytes, str] | None = None

    @property
    def tenant(self) -> str:
        return self.asked.place.tenant

    @property
    def digest(self) -> bytes:
        """The exact fingerprint of what was asked."""
        return self.asked.digests[0]


def question_of(asked: Asked, plan: MeaningPlan) -> Question | None:
    """The question in a request; None where it must be met exactly."""
    request = asked.request
    if is_sampled(request) and not plan.reuse_sampled:
        return None
    text = fuzzy_text(request)
    if text is None:
        return None
    form = canonical(text)
    return Question(asked, plan, text, form) if isinstance(form, Form) else None


def match_headers(question: Question, match: Match, ids: FeedbackIds) -> HeaderList:
    """How an answer was found, for the caller; the id is what feedback names it by."""
    signed = ids.sign(Served(question.tenant, question.digest, match.digest))
    similarity = 1.0 if match.similarity is None else match.similarity
    return [
        (b"x-headgate-cache-layer", b"semantic"),
        (b"x-headgate-cache-tier", b"%d" % match.tier),
        (b"x-headgate-cache-similarity", b"%.4f" % similarity),
        *([(b"x-headgate-cache-id", signed)] if signed is not None else []),
    ]


def text_of(body: bytes) -> str:
    """The text of a plain answer's first choice."""
    text = orjson.loads(body)["choices"][0]["text"]
    return text if isinstance(text, str) else ""
