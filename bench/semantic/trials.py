"""A labelled file as lookups: which texts are asked, which are cached, and which hits are right."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

OUT_OF_SCOPE = "oos"


@dataclass(frozen=True, slots=True)
class Pairs:
    """`texts` holds a and b of each pair in turn; each b is asked with only its a in the cache."""

    name: str
    texts: Sequence[str]
    labels: Sequence[bool]
    kind: str = field(default="pairs", init=False)

    @property
    def lookups(self) -> int:
        """One for each pair."""
        return len(self.labels)

    @property
    def same(self) -> int | None:
        """How many lookups should hit."""
        return sum(self.labels)

    def right(self, asked: int, served: int) -> bool:
        """Whether the answer of one may be given for the other."""
        assert served == asked - 1
        return self.labels[asked // 2]

    def label(self, text: int) -> str:
        """What the file says of a text."""
        return f"label {int(self.labels[text // 2])}"


@dataclass(frozen=True, slots=True)
class Stream:
    """Each text is asked in turn with all that came before it in the cache."""

    name: str
    texts: Sequence[str]
    intents: Sequence[str]
    kind: str = field(default="stream", init=False)

    @property
    def lookups(self) -> int:
        """One for each text."""
        return len(self.texts)

    @property
    def same(self) -> int | None:
        """A stream does not say which of its lookups should hit."""
        return None

    def right(self, asked: int, served: int) -> bool:
        """Equal intent; two texts out of scope have nothing in common, so they must be equal."""
        if self.intents[asked] != self.intents[served]:
            return False
        if self.intents[asked] != OUT_OF_SCOPE:
            return True
        return _folded(self.texts[asked]) == _folded(self.texts[served])

    def label(self, text: int) -> str:
        """What the file says of a text."""
        return self.intents[text]


Trial = Pairs | Stream


def stream(name: str, rows: Sequence[tuple[str, str]], seed: int) -> Stream:
    """A stream of (intent, text) in an order that is the same for the same seed."""
    mixed = random.Random(seed).sample(rows, len(rows))
    return Stream(name, [text for _, text in mixed], [intent for intent, _ in mixed])


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
