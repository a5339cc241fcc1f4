"""Answers by meaning: found, learned from, closed where they err.

Tier 1 is the strict canonical key, tier 1b the wide one, tier 2 the nearest neighbours under the
guard. All point to exact entries. A tier that is closed for a partition, and one that only runs dry, still looks: what it
would have served is compared with the answer that the upstream gave.
"""

from __future__ import annotations

import structlog

from app.core.pricing import dollars_text
from app.core.units import Digest, Millis
from cache.answers.entry import CacheEntry
from cache.answers.shared_tier import Responses
from cache.quotas.counters import Counters
from cache.semantic import error_bounds as evidence
from cache.semantic.canonical import Form, canonical
from cache.semantic.error_bounds import History, Tally, agrees, may_open, should_close
from cache.semantic.index import Near, Samples, SemanticIndex
from cache.semantic.near_match import veto
from cache.semantic.plan import Tier
from cache.semantic.query import TIER_2_WORDS, Match, SemanticQuery
from cache.store import key_names as names


class ByMeaning:
    """Every method that is waited for raises StoreUnavailable."""

    def __init__(
        self, responses: Responses, semantic_index: SemanticIndex, counters: Counters
    ) -> None:
        self._responses = responses
        self._semantic_index = semantic_index
        self._counters = counters

    async def find(self, query: SemanticQuery) -> Match | None:
        """An answer that may be served; what may not is noted in the query."""
        match, closed = await self._equal(query)
        if match is None:
            match = await self._near(query)
            closed = match is not None and bool((await self._samples(query, "2")).closed)
        if match is None:
            return None
        if query.plan.dry_run or closed:
            query.would_be = match
            self._would_be(query, match)
            return None
        self._add(query, "hits", tier=match.tier)
        return match

    def _would_be(self, query: SemanticQuery, match: Match) -> None:
        """Count what was found and not served; in a dry run, say which pair it was."""
        self._add(query, "would_be_hits", tier=match.tier)
        labels = {"model": query.lookup.request.model, "tier": match.tier}
        saved = match.entry.cost
        self._counters.add("headgate_semantic_would_be_saved_nanodollars_total", labels, saved)
        if query.plan.dry_run:
            structlog.get_logger("headgate").info(
                "semantic_would_be_hit",
                alias=query.lookup.request.model,
                tier=match.tier,
                rules=list(query.rules) if match.tier == "1b" else [],
                similarity=match.similarity,
                asked=query.digest.hex()[:16],
                served=match.digest.hex()[:16],
                saved_usd=dollars_text(saved),
            )

    async def _equal(self, query: SemanticQuery) -> tuple[Match | None, bool]:
        """A match of an equal key, strict or wide, and whether its tier is closed."""
        lookup = query.lookup
        found = await self._semantic_index.equal(
            lookup.place, query.keys, query.digest, query.partition
        )
        if found is None:
            return None, False
        key = names.answer(query.tenant, found.digest.hex())
        entry = self._responses.decoded(key, found.entry)
        if entry is None or not lookup.is_fresh(entry):
            return None, False
        return Match(found.tier, entry, found.digest), found.closed

    async def _near(self, query: SemanticQuery) -> Match | None:
        plan, lookup = query.plan, query.lookup
        query.vector = vector = await self._vector(query)
        if vector is None or query.form is None:
            return None
        threshold = max(plan.threshold, lookup.threshold)
        near = await self._semantic_index.near(query.tenant, query.partition, vector, lookup.now)
        for one in near:
            if one.similarity < threshold:
                break
            reason = _veto(query.form, one)
            if reason is None:
                entry = await self._entry(query, one.digest)
                if entry is not None:
                    return Match("2", entry, one.digest, one.similarity)
            elif query.refused is None:
                self._add(query, "refusals", veto=reason)
                entry = await self._entry(query, one.digest)
                if entry is not None:
                    query.refused = (entry, one.digest, reason)
        return None

    async def _vector(self, query: SemanticQuery) -> bytes | None:
        """The vector of what was asked, where there is a second tier for it."""
        encoder = query.plan.encoder
        form = query.form
        if encoder is None or form is None or form.words > TIER_2_WORDS:
            return None
        if form.language != "en":  # the guard reads English
            return None
        if not self._semantic_index.vectors:
            return None
        return await encoder.vector(query.text)

    async def _entry(self, query: SemanticQuery, digest: Digest) -> CacheEntry | None:
        """The fresh entry of a fingerprint, unless it is banned here."""
        lookup = query.lookup
        age = lookup.max_age
        found = await self._responses.look_up(
            lookup.place, [digest], max_age=age, policy=lookup.policy
        )
        [entry] = found.entries
        if entry is None or not lookup.is_fresh(entry):
            return None
        banned = await self._semantic_index.is_banned(query.tenant, query.digest, digest)
        return None if banned else entry

    async def learn(self, query: SemanticQuery, answer: CacheEntry) -> None:
        """Our own answer arrived: keep what it means, and compare what was not served."""
        tenant, until = query.tenant, answer.fresh
        keys = [key for _, key in query.keys]
        self._semantic_index.keep(tenant, keys, query.digest, Millis(until - answer.stored))
        vector = query.vector or await self._vector(query)
        if vector is not None:
            near = Near(query.digest, query.text, 1.0)
            await self._semantic_index.keep_vector(tenant, query.partition, near, vector, until)
        fresh = query.text_of(answer.body)
        if query.would_be is not None:
            await self.verdict(query, query.would_be, fresh)
        if query.refused is not None:
            entry, _, reason = query.refused
            same = agrees(fresh, query.text_of(entry.body))
            self._add(query, "refusals_compared", veto=reason, agreed=str(same).lower())

    async def verdict(self, query: SemanticQuery, match: Match, fresh: str) -> None:
        """A match was compared with what the upstream says now: count it, and act on it."""
        differs = not agrees(fresh, query.text_of(match.entry.body))
        plan, tenant = query.plan, query.tenant
        samples = await self._semantic_index.add_sample(
            tenant,
            query.partition,
            plan.model,
            match.tier,
            differs=differs,
            window=evidence.WINDOW,
        )
        if differs:
            await self._semantic_index.ban(tenant, query.digest, match.digest)
            keys = [key for _, key in query.keys]
            await self._semantic_index.forget(tenant, keys, query.partition, match.digest)
        changed = changed_state(samples, plan.max_error)
        if changed is not None:
            await self._semantic_index.change(tenant, query.partition, match.tier, changed)
            what = "closures" if changed.closed else "openings"
            self._add(query, what, tier=match.tier)
            structlog.get_logger("headgate").warning(
                "semantic_tier_closed" if changed.closed else "semantic_tier_opened",
                alias=query.lookup.request.model,
                tier=match.tier,
                compared=samples.looked,
                differed=samples.differed,
            )

    def control(self, query: SemanticQuery, served: CacheEntry, fresh: str) -> None:
        """An exact hit was compared: how often does the model differ from itself?"""
        differs = not agrees(fresh, query.text_of(served.body))
        amounts = {"control_looked": 1, "control_differed": int(differs)}
        self._semantic_index.count(query.tenant, query.plan.model, amounts)

    async def _samples(self, query: SemanticQuery, tier: Tier) -> Samples:
        tenant, model = query.tenant, query.plan.model
        return await self._semantic_index.samples(tenant, query.partition, model, tier)

    def _add(self, query: SemanticQuery, name: str, **labels: str) -> None:
        alias = query.lookup.request.model
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
