"""What is wrong with the targets of a model that their types cannot say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from app.config.decoding import Path
from app.config.prices import price_of
from app.config.settings import Model, Settings, Target
from app.portkey.conditions import REQUEST_FACTS, Mistake, parse_query


class Found(NamedTuple):
    """One thing, at a path within the model; with ``warns`` the file can be used all the same."""

    path: Path
    message: str
    warns: bool = False


def target_faults(model: Model) -> Iterator[Found]:
    """Targets that stand twice, tiers that nobody can be picked from, conditions that say nothing."""
    names: dict[str, int] = {}
    tiers: dict[int, float] = {}
    for index, target in enumerate(model.targets):
        if target is None:
            continue
        place: Path = ("targets", index)
        first = names.setdefault(target.name, index)
        if first != index:
            yield Found(place, f"is the same as targets[{first}]; give that one the whole weight")
        tiers[target.tier] = tiers.get(target.tier, 0) + target.weight
        if target.when is not None:
            yield from _condition((*place, "when"), target)
    for tier in range(max(tiers, default=-1) + 1):
        if tier not in tiers:
            yield Found(("targets",), f"no target is in tier {tier}, though there is a later one")
        elif not tiers[tier]:
            yield Found(("targets",), f"the weights of tier {tier} are all 0")
    conditional = [target.when is not None for target in model.targets if target is not None]
    if conditional and all(conditional):
        yield Found(
            ("targets",), "every target has a `when`: requests that match none are refused", True
        )


def unpriced(model: Model, settings: Settings, payer: str) -> Iterator[Found]:
    """Targets that a key with a budget can reach, and nobody knows what they cost."""
    several = len(model.targets) > 1
    for index, target in enumerate(model.targets):
        if target is None or target.provider not in settings.providers:
            continue
        if price_of(model, settings, target) is None:
            path: Path = ("targets", index, "price") if several else ("price",)
            yield Found(
                path,
                f"is needed, because the key {payer!r} has a budget and nobody publishes one; "
                "set {input_per_million: …, output_per_million: …} in US dollars",
            )
        if several and target.tier and target.context is None:
            yield Found(
                ("targets", index, "context"),
                f"is unknown, and the key {payer!r} has a budget: a request that is too long for "
                "this fallback is found out by asking it",
                warns=True,
            )


def _condition(path: Path, target: Target) -> Iterator[Found]:
    when: Mapping[str, object] | None = target.when
    try:
        parse_query(when, REQUEST_FACTS)
    except Mistake as mistake:
        yield Found((*path, *mistake.path), mistake.message)
