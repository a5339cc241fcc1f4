"""The number swap: a text with one number changed must not be served the original's answer."""

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench.semantic.policies import (
    ALL_TIERS,
    COSINES,
    EXACT,
    TIER_1,
    TIER_1B,
    TIER_2,
    cosine_name,
    spaced,
    takes_tier_2,
)
from cache.semantic.canonical import Form, read
from cache.semantic.encoders.local import LocalEncoder
from cache.semantic.near_match import veto

_WORDS = "two three four five six seven eight nine ten eleven twelve".split()
_NUMBER = re.compile(rf"[0-9]+|\b(?:{'|'.join(_WORDS)})\b", re.IGNORECASE)


@dataclass(slots=True)
class Swaps:
    """How many copies were made, and which would be served, by policy: (original, copy)."""

    copies: int = 0
    served: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def note(self, policy: str, served: bool, original: str, copy: str) -> None:
        """Adds a copy to a policy that would serve it; a policy that never does is listed too."""
        found = self.served.setdefault(policy, [])
        if served:
            found.append((original, copy))


def swaps(texts: Iterable[str], encoder: LocalEncoder | None, threshold: float, seed: int) -> Swaps:
    """Tries a copy of each text that holds a number; the original is all that is cached."""
    chance = random.Random(seed)
    found = Swaps()
    for text in dict.fromkeys(texts):
        copy = swapped(text, chance)
        if copy is None:
            continue
        found.copies += 1
        one, other = read(text), read(copy)
        a, b = one.strict, other.strict
        same_wide = (
            one.wide is not None and other.wide is not None and one.wide.key == other.wide.key
        )
        same_key = isinstance(a, Form) and isinstance(b, Form) and a.key == b.key
        found.note(EXACT, spaced(text) == spaced(copy), text, copy)
        found.note(TIER_1, same_key, text, copy)
        found.note(TIER_1B, same_key or same_wide, text, copy)
        if encoder is None:
            continue
        alike = _alike(encoder.encode(text), encoder.encode(copy))
        passes = alike >= threshold and isinstance(a, Form) and isinstance(b, Form)
        passes = passes and takes_tier_2(a) and takes_tier_2(b)
        allowed = passes and isinstance(a, Form) and isinstance(b, Form) and veto(a, b) is None
        found.note(TIER_2, same_key or allowed, text, copy)
        found.note(ALL_TIERS, same_key or same_wide or allowed, text, copy)
        for least in COSINES:
            found.note(cosine_name(least), alike >= least, text, copy)
    return found


def swapped(text: str, chance: random.Random) -> str | None:
    """The text with one of its numbers changed to another as long; None where it has none."""
    places = list(_NUMBER.finditer(text))
    if not places:
        return None
    place = chance.choice(places)
    return text[: place.start()] + _another(place[0], chance) + text[place.end() :]


def _another(number: str, chance: random.Random) -> str:
    if number.isdigit():
        digits = list(number)
        i = chance.randrange(len(digits))
        digits[i] = chance.choice([d for d in _digits(i, len(digits)) if d != digits[i]])
        return "".join(digits)
    word = chance.choice([word for word in _WORDS if word != number.lower()])
    return word.capitalize() if number[0].isupper() else word


def _digits(place: int, places: int) -> Sequence[str]:
    return "123456789" if place == 0 and places > 1 else "0123456789"


def _alike(a: bytes | None, b: bytes | None) -> float:
    from bench.semantic.nearest import cosine  # noqa: PLC0415 - numpy is part of an extra

    return cosine(a, b) if a and b else 0.0
