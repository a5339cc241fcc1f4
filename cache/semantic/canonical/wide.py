"""The wide key: what else two ways to ask have in common, beyond what the strict key folds away.

Each rule here has a name, turns tokens into tokens, and stands in docs/semantic.md with a pair that
it makes one and a pair that it must not. They are a tier of their own because each takes a small
risk that the strict key does not take: "best way to" is one way of several, "really" may matter to
somebody. So an operator can leave them off, and their errors are counted apart.

The rules work on the tokens before articles go, because "a" and "the" show where a noun begins. One
pass of each over a short list; a rule without its word costs one look into a set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from cache.semantic.canonical.frames import without_articles
from cache.semantic.canonical.numbers import is_number
from cache.semantic.canonical.operands import in_one_order
from cache.semantic.canonical.rewordings import (
    CALLED,
    MEASURES,
    PARTICLES,
    SOMEBODY,
    address,
    feel,
    future,
    have_to,
    measure,
    particle,
    somebody,
)
from cache.semantic.canonical.wide_frames import (
    REQUEST_WORDS,
    define,
    how_to,
    mean,
    place,
    possible,
    request,
    want,
    way,
    which,
)
from cache.semantic.canonical.words import FUNCTION_WORDS, NEGATIONS

VERSION = 2  # part of every wide key: a changed rule or table is a new version
MIN_CONTENT_WORDS = 2
MIN_TOKENS = 3  # of a prompt with fewer content words

Tokens = list[str]


class Wide(NamedTuple):
    """What a prompt says by the wide rules, and the names of the rules that changed it."""

    key: str
    rules: tuple[str, ...]


def widened(framed: Tokens, plain: Tokens, names: set[str], *, fresh: bool) -> Wide | None:
    """The wide key of tokens that have lost their frame; None where too little is left.

    ``plain`` are these without articles, which is all there is to say where no rule changes anything.
    ``fresh`` says that the prompt asks for something that ages, which only an exact hit, or one by
    this key, may answer for the answer's lifetime. It keeps "the": what an exchange rate is stays
    true, what the exchange rates are does not.
    """
    tokens = framed
    fired = ["fresh"] if fresh else []
    present = _WANTED.intersection(tokens)
    if any("-" in token for token in tokens):
        present |= _HYPHEN
    if present:
        for name, wanted, rule in _RULES:
            if wanted.isdisjoint(present):
                continue
            changed = rule(tokens, names)
            if changed is not tokens and changed != tokens:
                tokens = changed
                fired.append(name)
                present = _WANTED.intersection(tokens)
    if tokens is not framed:
        plain = without_articles(tokens)
    content = 0
    for token in plain:
        if token not in FUNCTION_WORDS:
            content += 1
            if content == MIN_CONTENT_WORDS:
                kept = _without_a(tokens) if fresh else plain
                return Wide(" ".join(kept), tuple(fired))
    if len(tokens) < MIN_TOKENS:
        return None
    fired.append("short")
    return Wide(" ".join(_without_a(tokens)), tuple(fired))


def _without_a(tokens: Tokens) -> Tokens:
    """With "the", where it counts: the president is not a president."""
    marked = [_THE if word == "the" else word for word in tokens]
    return ["the" if word == _THE else word for word in without_articles(marked)]


_THE = "the\n"  # no token has a line end, so no rule knows it


_AGREEING = {"are": "is", "were": "was", "does": "do", "has": "have"}


def agreement(tokens: Tokens, names: set[str]) -> Tokens:
    """The number of a verb follows its noun, whose number the strict key folds: what are, what is."""
    return [_AGREEING.get(token, token) for token in tokens]


# They stress what stands there anyway.
_STRESS = frozenset("really ever truly exactly actually basically indeed literally".split())
# "ever since", "happily ever after", "exactly as": there the word belongs to the next one.
_NOT_BEFORE = frozenset("since after so again as like alike half".split())
_NOT_AFTER = NEGATIONS | frozenset("yours love if happily so as".split())


def emphasis(tokens: Tokens, names: set[str]) -> Tokens:
    """Without words of stress; not in a name, after a negation, or before a number."""
    kept: Tokens = []
    last = len(tokens) - 1
    for at, word in enumerate(tokens):
        if word in _STRESS and word not in names:
            before = tokens[at - 1] if at else ""
            after = tokens[at + 1] if at < last else ""
            bound = before in _NOT_AFTER or after in _NOT_BEFORE
            if not bound and not (after and is_number(after)):
                continue
        elif word == "fact" and _stresses(tokens, at):
            kept.pop()
            continue
        kept.append(word)
    return kept if len(kept) > 1 else tokens


def _stresses(tokens: Tokens, at: int) -> bool:
    """Whether this is the "in fact" of stress: not "interested in fact checking"."""
    return (
        tokens[at - 1] == "in"
        and at > 1
        and tokens[at - 2] not in _NOT_AFTER
        and at < len(tokens) - 1
    )


# "the price of" and "the price for", "an opinion of" and "about": the noun fixes the relation.
_OF_FOR = frozenset(
    """price cost fee charge salary formula recipe requirement reason cause treatment cure remedy
    medicine balance symptom sign name word term symbol definition procedure process syllabus limit
    rate interest rating score deadline schedule status size weight height population date qualification
    eligibility criterion password pin number code address zip prerequisite benefit advantage
    disadvantage purpose use need demand scope solution answer explanation evidence proof source
    synonym abbreviation alternative substitute replacement mileage mpg temperature forecast""".split()
)
_OF_ABOUT = frozenset(
    """opinion view thought review fact know hear think knowledge understanding idea information
    detail truth myth misconception stereotype""".split()
)


def preposition(tokens: Tokens, names: set[str]) -> Tokens:
    """ "of" for "for" and "about" after a noun that leaves them but one meaning."""
    result = tokens
    for at in range(1, len(tokens) - 1):
        word, before = tokens[at], tokens[at - 1]
        if (word == "for" and before in _OF_FOR and tokens[at + 1] not in _TO_WHOM) or (
            word in _ABOUT and before in _OF_ABOUT
        ):
            if result is tokens:
                result = list(tokens)
            result[at] = "of"
    return result


_ABOUT = frozenset({"about", "on", "regarding"})
_TO_WHOM = frozenset("me you us him her them someone somebody it this that sale rent free".split())

# "how do I find a phone" is not "how do I find my phone": these get or make what was not there.
_GETTING = frozenset(
    """find get open create make write start buy build choose order apply have lose pick select rent
    hire obtain acquire set add adopt meet marry become join begin draw design develop register
    know keep need want catch earn win receive grow raise plan propose publish""".split()
)


def my(tokens: Tokens, names: set[str]) -> Tokens:
    """ "how to reset my password" asks for what "how to reset a password" does."""
    if tokens[:2] != ["how", "to"] or len(tokens) < 4 or tokens[2] in _GETTING:
        return tokens
    if tokens.count("my") > 1 or tokens[-1] == "my":
        return tokens
    return [word for word in tokens if word != "my"]


_OF_POSSESSIVE = frozenset("what who where when".split())
_DAYS = frozenset("today tomorrow tonight yesterday".split())
_IS = frozenset({"is", "was"})
_POSSESSIVES = frozenset({"'s", "s'"})


def possessive(tokens: Tokens, names: set[str]) -> Tokens:
    """ "what is X's Y" as "what is Y of X"; elsewhere 's goes, as it is often left out."""
    for at in range(1, len(tokens) - 1):
        if tokens[at] in _POSSESSIVES:
            return _moved(tokens, at)
    return tokens[:-1] if tokens[-1] in _POSSESSIVES and len(tokens) > 1 else tokens


def _moved(tokens: Tokens, at: int) -> Tokens:
    """The tokens without the possessive that stands here."""
    owned = tokens[at + 1 :]
    if tokens[at - 1] in _DAYS:  # today's weather, the weather today
        end = next((i for i, word in enumerate(owned) if word in FUNCTION_WORDS), len(owned))
        return [*tokens[: at - 1], "the", *owned[:end], tokens[at - 1], *owned[end:]]
    if tokens[at - 1] == "it":
        return [*tokens[:at], "is", *owned]
    owner = tokens[2:at]
    if (
        tokens[0] in _OF_POSSESSIVE
        and tokens[1] in _IS
        and owner
        and len(owned) <= 2
        and FUNCTION_WORDS.isdisjoint([*owned, *owner[1:]])
    ):
        return [*tokens[:2], *owned, "of", *owner]
    return [word for word in tokens if word not in _POSSESSIVES]


def hyphen(tokens: Tokens, names: set[str]) -> Tokens:
    """A compound with a hyphen as its words: top-up, top up."""
    result: Tokens = []
    for token in tokens:
        parts = token.split("-")
        if len(parts) > 1 and all(len(part) > 1 and part.isalpha() for part in parts):
            result += parts
        else:
            result.append(token)
    return result


_ANY_AFTER = (
    ("is", "there"), ("do", "you", "have"), ("do", "you", "know"), ("do", "i", "have"),
    ("do", "we", "have"), ("have", "you", "got"),
)  # fmt: skip


def any_of(tokens: Tokens, names: set[str]) -> Tokens:
    """ "is there any" as "is there a": the article goes later."""
    at = tokens.index("any")
    if at + 1 < len(tokens) and tuple(tokens[:at]) in _ANY_AFTER:
        return [*tokens[:at], *tokens[at + 1 :]]
    return tokens


_GOOD = frozenset("best good great way tip example".split())


def some(tokens: Tokens, names: set[str]) -> Tokens:
    """ "some" before best, good and ways; not before a bare noun, where it makes a list of it."""
    at = tokens.index("some")
    follows = tokens[at + 1 : at + 2]
    if follows and follows[0] == "of" and tokens[at + 2 : at + 4] == ["the", "best"]:
        return [*tokens[:at], *tokens[at + 2 :]]
    if follows and follows[0] in _GOOD and at == 2 and tokens[:2] == ["what", "is"]:
        return [*tokens[:at], *tokens[at + 1 :]]
    return tokens


_KINDS = frozenset({"type", "sort"})


def kind(tokens: Tokens, names: set[str]) -> Tokens:
    """What type of, what sort of, what kind of."""
    if tokens[0] == "what" and len(tokens) > 3 and tokens[1] in _KINDS and tokens[2] == "of":
        return ["what", "kind", *tokens[2:]]
    return tokens


_HYPHEN = frozenset({"-"})
Rule = Callable[[Tokens, set[str]], Tokens]
_RULES: tuple[tuple[str, frozenset[str], Rule], ...] = (
    ("hyphen", _HYPHEN, hyphen),
    ("agreement", frozenset(_AGREEING), agreement),
    ("address", CALLED, address),
    ("emphasis", _STRESS | {"fact"}, emphasis),
    ("request", REQUEST_WORDS, request),
    ("want", frozenset({"need", "want"}), want),
    ("somebody", SOMEBODY, somebody),
    ("possible", frozenset({"possible", "way", "able", "can", "could"}), possible),
    ("future", frozenset({"going"}), future),
    ("have to", frozenset({"have"}), have_to),
    ("feel", frozenset({"feel"}), feel),
    ("which", frozenset({"which"}), which),
    ("kind", _KINDS, kind),
    ("some", frozenset({"some"}), some),
    ("any", frozenset({"any"}), any_of),
    ("way", frozenset({"way", "do"}), way),
    ("how to", frozenset({"how"}), how_to),
    ("mean", frozenset({"mean", "means", "meant", "meaning"}), mean),
    ("define", frozenset({"define", "definition"}), define),
    ("place", frozenset({"where", "what"}), place),
    ("my", frozenset({"my"}), my),
    ("possessive", _POSSESSIVES, possessive),
    ("preposition", frozenset({"for"}) | _ABOUT, preposition),
    ("measure", MEASURES, measure),
    ("particle", PARTICLES, particle),
    ("order", frozenset({"or", "and"}), in_one_order),
)
_WANTED = frozenset().union(*(wanted for _, wanted, _ in _RULES))
RULES = (*(name for name, _, _ in _RULES), "fresh", "short")
