"""Two things that a question names in either order: between A and B, A or B, an A and a B."""

from __future__ import annotations

from cache.semantic.canonical.numbers import is_number
from cache.semantic.canonical.words import DIRECTIONS, FUNCTION_WORDS, JOINERS

Tokens = list[str]

LONGEST = 5  # words in an operand; one that goes on is no noun
# In these the order is time's: between Monday and Friday.
_ORDERED = frozenset(
    """monday tuesday wednesday thursday friday saturday sunday january february march april may june
    july august september october november december noon midnight morning evening today tomorrow
    yesterday now then am pm start end first last birth death""".split()
)
# What these are between has a from and a to.
_DIRECTED = frozenset(
    """exchange rate convert conversion ratio translate translation transfer flight fly train bus trip
    travel ferry ticket subtract divide quotient""".split()
)
_ENDS = frozenset(". ?".split()) | (DIRECTIONS - {"of"}) | JOINERS | frozenset(
    "what which who how why when where that is are was were do does did can should would will".split()
)  # fmt: skip
_ARTICLES = frozenset({"a", "an", "the"})
_BE = frozenset("is am was be".split())
# An operand begins after one of these: a verb of choosing, a word that compares.
_BEFORE_OPERANDS = FUNCTION_WORDS | frozenset(
    """buy use learn choose eat drink study prefer become take get play watch read visit drive wear
    better best worse worst cheaper faster healthier bigger smaller stronger safer easier harder
    called""".split()
)


def in_one_order(tokens: Tokens, names: set[str]) -> Tokens:
    """The operands in the order of the alphabet, where both are nouns and no order is meant."""
    if "between" in tokens and "and" in tokens:
        return _between(tokens)
    if tokens.count("or") == 1:
        return _either(tokens, tokens.index("or"))
    if tokens.count("and") == 1:
        return _nouns(tokens, tokens.index("and"))
    return tokens


def _between(tokens: Tokens) -> Tokens:
    start = tokens.index("between") + 1
    if (
        not _DIRECTED.isdisjoint(tokens)
        or tokens.count("between") > 1
        or tokens.count("and") > 1
        or tokens.index("and") < start
    ):
        return tokens
    middle = tokens.index("and")
    return _sorted(tokens, start, middle, _end(tokens, middle + 1))


def _either(tokens: Tokens, middle: int) -> Tokens:
    end = _end(tokens, middle + 1)
    start = _article_before(tokens, middle)
    if start is not None and not _ARTICLES.isdisjoint(tokens[middle + 1 : middle + 2]):
        return _sorted(tokens, start, middle, end)
    # No article shows where the first begins: both are taken for equally long.
    start = middle - (end - middle - 1)
    if start < 1 or tokens[start - 1] not in _BEFORE_OPERANDS:
        return tokens
    return _sorted(tokens, start, middle, end)


def _nouns(tokens: Tokens, middle: int) -> Tokens:
    """ "an artist and a singer": articles on both sides show that these are two nouns."""
    start = _article_before(tokens, middle)
    if start is None or tokens[middle + 1 : middle + 2] not in (["a"], ["an"]):
        return tokens
    if tokens[start] == "the" or _BE.isdisjoint(tokens[:start]):
        return tokens  # "buy a house and sell a car" is a row of steps
    return _sorted(tokens, start, middle, _end(tokens, middle + 1))


def _article_before(tokens: Tokens, middle: int) -> int | None:
    """Where the article of the noun before this place stands."""
    for at in range(middle - 2, max(-1, middle - LONGEST - 2), -1):
        if tokens[at] in _ARTICLES:
            return at
        if tokens[at] in FUNCTION_WORDS:
            return None
    return None


def _end(tokens: Tokens, start: int) -> int:
    """Where the operand that begins here ends."""
    at = start
    while at < len(tokens) and tokens[at] not in _ENDS:
        at += 1
    return at


def _sorted(tokens: Tokens, start: int, middle: int, end: int) -> Tokens:
    one, other = tokens[start:middle], tokens[middle + 1 : end]
    if not (0 < len(one) <= LONGEST and 0 < len(other) <= LONGEST):
        return tokens
    both = [token for token in (*one, *other) if token not in _ARTICLES]
    if not (_ENDS | _ORDERED).isdisjoint(both) or any(map(is_number, both)):
        return tokens
    if _bare(one) <= _bare(other):
        return tokens
    return [*tokens[:start], *other, tokens[middle], *one, *tokens[end:]]


def _bare(operand: Tokens) -> Tokens:
    return [token for token in operand if token not in _ARTICLES]
