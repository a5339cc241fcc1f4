"""Answers by meaning: found, learned from, closed where they err.

Tier 1 is the canonical key, tier 2 the nearest neighbours under the guard. Both point to exact
entries. A tier that is closed for a partition, and one that only runs dry, still looks: what it
would have served is compared with the answer that the upstream gave.
"""

from __future__ import annotations

import structlog

from app.caching.question import TIER_2_WORDS, Match, Question, text_of
from app.core import evidence
from app.core.canonical import Form, canonical
from app.core.evidence import History, Tally, agrees, may_open, should_close
from app.core.guard import veto
from app.core.stored_answer import Stored
from cache import names
from cache.counters import Counters
from cache.meanings import Meanings, Near, Samples
from cache.responses import Responses


class ByMeaning:
    """Every method that is waited for raises StoreUnavailable."""

    def __init__(self, responses: Responses, meanings: Meanings, counters: Counters) -> None:
        self._responses = responses
        self._meanings = meanings
        self._counters = counters

    async def find(self, question: Question) -> Match | None:
        """An answer that may be served; what may not is noted in the question."""
        match, closed = await self._equal(question)
        if match is None:
            match = await self._near(question)
            closed = match is not None and bool((await self._samples(question, 2)).closed)
        if match is None:
            return None
        if question.plan.dry_run or closed:
            question.would_be = match
            self._add(question, "would_be_hits", tier=str(match.tier))
            return None
        self._add(question, "hits", tier=str(match.tier))
        return match

    async def _equal(self, question: Question) -> tuple[Match | None, bool]:
        """A match of tier 1, and whether the tier is closed."""
        asked = question.asked
        found = await self._meanings.equal(
            asked.place, question.key, question.digest, question.partition
        )
        if found is None:
            return None, False
        key = names.answer(question.tenant, found.digest.hex())
        entry = self._responses.decoded(key, found.entry)
        if entry is None or not asked.is_fresh(entry):
            return None, False
        return Match(1, entry, found.digest), found.closed

    async def _near(self, question: Question) -> Match | None:
        plan, asked = question.plan, question.asked
        question.vector = vector = await self._vector(question)
        if vector is None:
            return None
        threshold = max(plan.threshold, asked.wishes.threshold or 0)
        near = await self._meanings.near(question.tenant, question.partition, vector, asked.now)
        for one in near:
            if one.similarity < threshold:
                break
            reason = _veto(question.form, one)
            if reason is None:
                entry = await self._entry(question, one.digest)
                if entry is not None:
                    return Match(2, entry, one.digest, one.similarity)
            elif question.refused is None:
                self._add(question, "refusals", veto=reason)
                entry = await self._entry(question, one.digest)
                if entry is not None:
                    question.refused = (entry, one.digest, reason)
        return None

    async def _vector(self, question: Question) -> bytes | None:
        """The vector of what was asked, where there is a second tier for it."""
        encoder = question.plan.encoder
        if encoder is None or not self._meanings.vectors or question.form.words > TIER_2_WORDS:
            return None
        return await encoder.vector(question.text)

    async def _entry(self, question: Question, digest: bytes) -> Stored | None:
        """The fresh entry of a fingerprint, unless it is banned here."""
        asked = question.asked
        age = asked.wishes.max_age
        found = await self._responses.look_up(asked.place, [digest], max_age=age)
        [entry] = found.entries
        if entry is None or not asked.is_fresh(entry):
            return None
        banned = await self._meanings.is_banned(question.tenant, question.digest, digest)
        return None if banned else entry

    async def learn(self, question: Question, answer: Stored) -> None:
        """Our own answer arrived: keep what it means, and compare what was not served."""
        tenant, until = question.tenant, answer.fresh
        self._meanings.keep(tenant, question.key, question.digest, until - answer.stored)
        vector = question.vector or await self._vector(question)
        if vector is not None:
            near = Near(question.digest, question.text, 1.0)
            await self._meanings.keep_vector(tenant, question.partition, near, vector, until)
        fresh = text_of(answer.body)
        if question.would_be is not None:
            await self.verdict(question, question.would_be, fresh)
        if question.refused is not None:
            entry, _, reason = question.refused
            same = agrees(fresh, text_of(entry.body))
            self._add(question, "refusals_compared", veto=reason, agreed=str(same).lower())

    async def verdict(self, question: Question, match: Match, fresh: str) -> None:
        """A match was compared with what the upstream says now: count it, and act on it."""
        differs = not agrees(fresh, text_of(match.entry.body))
        plan, tenant = question.plan, question.tenant
        samples = await self._meanings.add_sample(
            tenant,
            question.partition,
            plan.model,
            match.tier,
            differs=differs,
            window=evidence.WINDOW,
        )
        if differs:
            await self._meanings.ban(tenant, question.digest, match.digest)
            await self._meanings.forget(tenant, question.key, question.partition, match.digest)
        changed = changed_state(samples, plan.max_error)
        if changed is not None:
            await self._meanings.change(tenant, question.partition, match.tier, changed)
            what = "closures" if changed.closed else "openings"
            self._add(question, what, tier=str(match.tier))
            structlog.get_logger("headgate").warning(
                "semantic_tier_closed" if changed.closed else "semantic_tier_opened",
                alias=question.asked.request.model,
                tier=match.tier,
                compared=samples.looked,
                differed=samples.differed,
            )

    def control(self, question: Question, served: Stored, fresh: str) -> None:
        """An exact hit was compared: how often does the model differ from itself?"""
        differs = not agrees(fresh, text_of(served.body))
        amounts = {"control_looked": 1, "control_differed": int(differs)}
        self._meanings.count(question.tenant, question.plan.model, amounts)

    async def _samples(self, question: Question, tier: int) -> Samples:
        tenant, model = question.tenant, question.plan.model
        return await self._meanings.samples(tenant, question.partition, model, tier)

    def _add(self, question: Question, name: str, **labels: str) -> None:
        alias = question.asked.request.model
        self._counters.add(f"headgate_semantic_{name}_total", {"model": alias, **labels})


def changed_state(samples: Samples, max_error: float) -> Samples | None:
    """The state after a tier closes or opens; None where it stays as it is."""
    history = History(
        Tally(samples.looked, samples.differed),
        Tally(samples.recent_looked, samples.recent_differed),
    )
    control = Tally(
        max(0, samples.control_looked - samples.base_looked),
        max(0, samples.control_differed - samples.base_differed),
    )
    anew = samples._replace(looked=0, differed=0, recent_looked=0, recent_differed=0)
    if not samples.closed and should_close(history, control, max_error):
        return anew._replace(
            closed=1,
            closures=samples.closures + 1,
            base_looked=samples.control_looked,
            base_differed=samples.control_differed,
        )
    if samples.closed and may_open(history, control, max_error, samples.closures):
        return anew._replace(closed=0)
    return None


def _veto(form: Form, near: Near) -> str | None:
    other = canonical(near.text)
    return veto(form, other) if isinstance(other, Form) else "ineligible"
