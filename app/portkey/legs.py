"""Which targets of a config one request goes to: draws made, conditions asked, fallbacks in order.

Pure. A tree becomes a row of legs; each knows where a failure leads, group by group outwards.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from app.portkey.conditions import Facts, Mistake, holds
from app.portkey.config import Group, Leaf, Node

# What goes on where no list says so: what every target would refuse is not among it.
WITHOUT_LIST = frozenset({401, 402, 403, 404, 408, 409, 425, 429, *range(500, 600)})


class Exit(NamedTuple):
    """Where a failure with one of these statuses leads: the position of the next leg."""

    codes: frozenset[int]
    to: int


class Leg(NamedTuple):
    """One target on the way, and its exits, from the innermost group outwards."""

    leaf: Leaf
    exits: tuple[Exit, ...]

    def after(self, statuses: Collection[int]) -> int | None:
        """The next leg after a failure that these statuses name; None where there is none."""
        for codes, to in self.exits:
            if not codes.isdisjoint(statuses):
                return to
        return None


def legs_of(node: Node, facts: Facts, chance: Callable[[], float]) -> list[Leg]:
    """The legs of one request. Raises Mistake where a condition leads nowhere."""
    legs: list[Leg] = []
    _walk(node, facts, chance, (), legs)
    return legs


def leaves(node: Node) -> Iterator[Leaf]:
    """Every target of a tree, whether it can be reached or not."""
    if isinstance(node, Leaf):
        yield node
        return
    for member in node.members:
        yield from leaves(member)


def _walk(
    node: Node,
    facts: Facts,
    chance: Callable[[], float],
    outer: tuple[Exit, ...],
    legs: list[Leg],
) -> None:
    if isinstance(node, Leaf):
        legs.append(Leg(node, outer))
        return
    if node.mode != "fallback":
        _walk(_chosen(node, facts, chance), facts, chance, outer, legs)
        return
    codes = WITHOUT_LIST if node.codes is None else node.codes
    for position, member in enumerate(node.members):
        if position == len(node.members) - 1:
            _walk(member, facts, chance, outer, legs)
            continue
        # Where the next member begins is known when this one is laid out.
        inner: list[Leg] = []
        _walk(member, facts, chance, (), inner)
        start, after = len(legs), len(legs) + len(inner)
        for leg in inner:
            own = tuple(Exit(one.codes, one.to + start) for one in leg.exits)
            legs.append(Leg(leg.leaf, (*own, Exit(codes, after), *outer)))


def _chosen(group: Group, facts: Facts, chance: Callable[[], float]) -> Node:
    if group.mode == "single":
        return group.members[0]
    if group.mode == "loadbalance":
        return _drawn(group, chance())
    then = next((then for query, then in group.conditions if holds(query, facts)), group.default)
    for member in group.members:
        if then is not None and member.name == then:
            return member
    raise Mistake(
        ("strategy", "conditions"), "none holds of this request, and there is no `default`"
    )


def _drawn(group: Group, share: float) -> Node:
    """A member by its weight; ``share`` is from 0 to 1."""
    members: tuple[Node, ...] = group.members
    point = share * sum(member.weight for member in members)
    for member in members:
        if point < member.weight:
            return member
        point -= member.weight
    return [member for member in members if member.weight][-1]
