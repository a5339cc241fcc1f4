"""What each policy would serve: equal texts, the canonical key, the key and the guard, a cosine."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.semantic.scores import Score
from bench.semantic.trials import Pairs, Trial
from cache.semantic.canonical import Form, Ineligible
from cache.semantic.canonical.wide import Wide
from cache.semantic.near_match import veto
from cache.semantic.query import TIER_2_WORDS

EXACT = "exact"
TIER_1 = "tier 1"
TIER_2 = "tier 1 + 2"
TIER_1B = "tier 1 + 1b"
ALL_TIERS = "tier 1 + 1b + 2"
COSINES = (0.80, 0.90, 0.95, 0.98)

Neighbours = Mapping[int, Sequence[tuple[int, float]]]


def cosine_name(threshold: float) -> str:
    """How a plain threshold is called in the tables."""
    return f"cosine >= {threshold:.2f}"


class Hit(NamedTuple):
    """Which text was served for which; the similarity where that decided it."""

    asked: int
    served: int
    similarity: float | None = None


@dataclass(slots=True)
class Outcome:
    """Hits by policy; refusals of the guard as [all, those that meant the same] by veto."""

    hits: dict[str, list[Hit]] = field(default_factory=dict)
    refusals: dict[str, list[int]] = field(default_factory=dict)


def play(
    trial: Trial,
    forms: Sequence[Form | Ineligible],
    near: Neighbours | None,
    threshold: float,
    many: int,
    wide: Sequence[Wide | None] = (),
) -> Outcome:
    """Every lookup under every policy; without `near` there is no encoder: equal keys only."""
    outcome = Outcome()
    outcome.hits[EXACT] = _equal(trial, [spaced(text) for text in trial.texts])
    keys = [form.key if isinstance(form, Form) else None for form in forms]
    outcome.hits[TIER_1] = _equal(trial, keys)
    if wide:
        by_wide = _equal(trial, [one.key if one is not None else None for one in wide])
        outcome.hits[TIER_1B] = _first_of(outcome.hits[TIER_1], by_wide)
    if near is None:
        return outcome
    by_vector = []
    for asked, neighbours in near.items():
        close = [(i, alike) for i, alike in neighbours if alike >= threshold]
        hit = _guarded(trial, forms, asked, close, many, outcome.refusals)
        if hit is not None:
            by_vector.append(hit)
    outcome.hits[TIER_2] = _first_of(outcome.hits[TIER_1], by_vector)
    if wide:
        outcome.hits[ALL_TIERS] = _first_of(outcome.hits[TIER_1B], by_vector)
    for least in COSINES:
        outcome.hits[cosine_name(least)] = [
            Hit(asked, *neighbours[0])
            for asked, neighbours in near.items()
            if neighbours[0][1] >= least
        ]
    return outcome


def _first_of(hits: Sequence[Hit], others: Sequence[Hit]) -> list[Hit]:
    """All hits by what was asked; where two policies hit, the first one's."""
    found = {hit.asked: hit for hit in (*others, *hits)}
    return [found[asked] for asked in sorted(found)]


def by_rule(
    trial: Trial, outcome: Outcome, wide: Sequence[Wide | None]
) -> dict[str, tuple[int, int]]:
    """Hits that only the wide key gives, and those of them that are right, by each of their rules."""
    strict = {hit.asked for hit in outcome.hits[TIER_1]}
    counts: dict[str, tuple[int, int]] = {}
    for hit in outcome.hits[TIER_1B]:
        one, other = wide[hit.asked], wide[hit.served]
        if hit.asked in strict or one is None or other is None:
            continue
        right = trial.right(hit.asked, hit.served)
        for rule in {*one.rules, *other.rules}:
            hits, good = counts.get(rule, (0, 0))
            counts[rule] = hits + 1, good + right
    return counts


def score(trial: Trial, policy: str, outcome: Outcome) -> Score:
    """The counts of one policy."""
    hits = outcome.hits[policy]
    exact = {hit.asked for hit in outcome.hits[EXACT]}
    return Score(
        policy,
        trial.lookups,
        trial.same,
        len(hits),
        sum(trial.right(hit.asked, hit.served) for hit in hits),
        sum(hit.asked not in exact for hit in hits),
    )


def spaced(text: str) -> str:
    """The text that `exact` compares: white space in runs is one space."""
    return " ".join(text.split())


def takes_tier_2(form: Form | Ineligible) -> bool:
    """Whether a text may be looked up by its embedding."""
    return isinstance(form, Form) and form.words <= TIER_2_WORDS


def ineligible(forms: Sequence[Form | Wide | Ineligible]) -> Counter[str]:
    """Why texts have no canonical key, and how many."""
    return Counter(form.reason for form in forms if isinstance(form, Ineligible))


def _equal(trial: Trial, keys: Sequence[str | None]) -> list[Hit]:
    """In a stream the first text that was cached under a key is the one that is served."""
    if isinstance(trial, Pairs):
        both = range(0, len(keys), 2)
        return [Hit(i + 1, i) for i in both if keys[i] is not None and keys[i] == keys[i + 1]]
    hits = []
    first: dict[str, int] = {}
    for i, key in enumerate(keys):
        if key is not None and (served := first.setdefault(key, i)) != i:
            hits.append(Hit(i, served))
    return hits


def _guarded(
    trial: Trial,
    forms: Sequence[Form | Ineligible],
    asked: int,
    neighbours: Sequence[tuple[int, float]],
    many: int,
    refusals: dict[str, list[int]],
) -> Hit | None:
    mine = forms[asked]
    if not isinstance(mine, Form) or not takes_tier_2(mine):
        return None
    cached = [(i, alike) for i, alike in neighbours if takes_tier_2(forms[i])][:many]
    for served, similarity in cached:
        other = forms[served]
        reason = veto(mine, other) if isinstance(other, Form) else "ineligible"
        if reason is None:
            return Hit(asked, served, similarity)
        counts = refusals.setdefault(reason, [0, 0])
        counts[0] += 1
        counts[1] += trial.right(asked, served)
    return None
