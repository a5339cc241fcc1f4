"""In which order a model's targets are asked: the pickers. Pure.

The whole order is fixed once for a request, and no target stands in it twice. Tiers come in their
order; a picker orders the targets of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from math import inf, log
from statistics import median
from typing import Any, Literal, NamedTuple

import orjson

from app.core.pricing import Price
from app.core.usage import Usage

Picker = Literal["weighted", "sticky", "least_busy", "cheapest", "prefix"]

PREFIX_CHARACTERS = 1024
PREFIX_IDS = 256
LOAD_FACTOR = 1.25  # of the mean: how much more than the others a target may have in flight


class Choice(NamedTuple):
    """What the choice knows of a target. ``weight`` is its share of its tier, already lowered while
    it is ramped up after an outage; one of 0 is never asked."""

    name: str
    tier: int = 0
    weight: float = 1.0
    price: Price | None = None


class Load(NamedTuple):
    """How busy a target is here: calls in flight, and the peak EWMA of seconds to the first byte
    (None where it was not measured)."""

    in_flight: int = 0
    latency: float | None = None


IDLE = Load()


class Pick(NamedTuple):
    """What a picker goes by: ``chance`` gives numbers from 0 to 1, ``key`` is what sticks to a
    target, ``loads`` are by name, ``usage`` is what the request will probably use."""

    picker: Picker
    chance: Callable[[], float]
    key: bytes = b""
    loads: Mapping[str, Load] = {}
    usage: Usage = Usage(1, 1)


def in_order(choices: Sequence[Choice], pick: Pick) -> list[int]:
    """The positions of the choices in the order in which they are asked."""
    tiers: dict[int, list[int]] = {}
    for position, choice in enumerate(choices):
        if choice.weight > 0:
            tiers.setdefault(choice.tier, []).append(position)
    order: list[int] = []
    for tier in sorted(tiers):
        positions = tiers[tier]
        order += (
            positions if len(positions) == 1 else _PICKERS[pick.picker](choices, positions, pick)
        )
    return order


def _weighted(choices: Sequence[Choice], positions: list[int], pick: Pick) -> list[int]:
    """Drawn one after the other by weight, as a race of exponential times.

    Source: Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006).
    """
    times = {at: _time(pick.chance(), choices[at].weight) for at in positions}
    return sorted(positions, key=times.__getitem__)


def _sticky(choices: Sequence[Choice], positions: list[int], pick: Pick) -> list[int]:
    """By weighted rendezvous hashing: the same key meets the same target on every replica, nothing is
    stored, and a target that goes away moves only the keys that were its own.

    Source: Thaler and Ravishankar (1998); weights as in Schindelhauer and Schomaker (2005).
    """
    times = {
        at: _time(hash_share(pick.key, choices[at].name), choices[at].weight) for at in positions
    }
    return sorted(positions, key=lambda at: (times[at], choices[at].name))


def _least_busy(choices: Sequence[Choice], positions: list[int], pick: Pick) -> list[int]:
    """The less busy of two that are drawn by weight, then the others by how busy they are.

    Two and not all, so that many gateways do not fall on the same idle target at once (Mitzenmacher,
    "The power of two choices", 2001). A target without a measurement counts as its peers' median,
    because ranked first it would draw everybody.
    """
    known = [load.latency for at in positions if (load := _load(choices[at], pick)).latency]
    usual = median(known) if known else 1.0

    def busy(at: int) -> float:
        load = _load(choices[at], pick)
        latency = usual if load.latency is None else load.latency
        return (load.in_flight + 1) * latency

    drawn = _weighted(choices, positions, pick)
    return sorted(drawn[:2], key=busy) + sorted(drawn[2:], key=busy)


def _cheapest(choices: Sequence[Choice], positions: list[int], pick: Pick) -> list[int]:
    """By what this request will probably cost; what nobody knows the price of comes last."""

    def cost(at: int) -> float:
        price = choices[at].price
        return inf if price is None else price.cost(pick.usage)

    return sorted(_weighted(choices, positions, pick), key=cost)


def _prefix(choices: Sequence[Choice], positions: list[int], pick: Pick) -> list[int]:
    """As sticky, by the beginning of the prompt; what is overloaded steps back.

    Overloaded: more than 1.25 times the mean in flight, and one. Source: Mirrokni, Thorup and
    Zadimoghaddam, "Consistent hashing with bounded loads" (2018).
    """
    order = _sticky(choices, positions, pick)
    flying = {at: _load(choices[at], pick).in_flight for at in positions}
    most = LOAD_FACTOR * sum(flying.values()) / len(positions) + 1
    return sorted(order, key=lambda at: flying[at] > most)


_PICKERS: Mapping[str, Callable[[Sequence[Choice], list[int], Pick], list[int]]] = {
    "weighted": _weighted,
    "sticky": _sticky,
    "least_busy": _least_busy,
    "cheapest": _cheapest,
    "prefix": _prefix,
}


def _time(share: float, weight: float) -> float:
    """When an exponential clock of this rate rings, by a uniform number from 0 to 1."""
    return -log(max(share, 1e-300)) / weight


def _load(choice: Choice, pick: Pick) -> Load:
    return pick.loads.get(choice.name, IDLE)


def hash_share(key: bytes, name: str) -> float:
    """A number between 0 and 1 that depends on a key and a target alone."""
    digest = blake2b(name.encode(), key=blake2b(key, digest_size=32).digest(), digest_size=8)
    return (int.from_bytes(digest.digest(), "big") + 0.5) / 2**64


def sticky_key(tenant: str, *candidates: str | None) -> bytes:
    """What a caller's requests stick by: the first of the candidates that is there, within its
    tenant, so that two tenants never share a key."""
    first = next((one for one in candidates if one), "")
    return orjson.dumps([tenant, first])


def prefix_key(tenant: str, alias: str, document: Mapping[str, Any]) -> bytes:
    """The beginning of what a self-hosted server may have in its prefix cache.

    1,024 characters or 256 token ids of the first prompt; of a conversation, what comes before the
    first answer: system messages and the first user message.
    """
    return orjson.dumps([tenant, alias, _beginning(document)])


def _beginning(document: Mapping[str, Any]) -> Any:
    messages = document.get("messages")
    if isinstance(messages, list):
        begun: list[Any] = []
        for message in messages:
            if not isinstance(message, dict) or message.get("role") in ("assistant", "tool"):
                break
            begun.append(message.get("content"))
            if message.get("role") == "user":
                break
        return orjson.dumps(begun)[: 2 * PREFIX_CHARACTERS].decode(errors="replace")
    prompt = document.get("prompt", document.get("input"))
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
        prompt = prompt[0]
    if isinstance(prompt, list):
        return prompt[:PREFIX_IDS]
    return prompt[:PREFIX_CHARACTERS] if isinstance(prompt, str) else None
