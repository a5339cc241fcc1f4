"""More that two ways to ask may differ in without asking another thing, for the wide key."""

from __future__ import annotations

from cache.semantic.canonical.wide_frames import TASKS
from cache.semantic.canonical.words import DIRECTIONS, FUNCTION_WORDS, QUESTIONS, TENSES

Tokens = list[str]

# Who is spoken to. Not at the end: "define AI" is about it.
CALLED = frozenset("alexa siri cortana bixby chatgpt ai assistant bot chatbot google".split())
_CALL = frozenset("hey hi hello ok".split())
_SPOKEN = QUESTIONS | TASKS | frozenset("can could would will please i find".split())


def address(tokens: Tokens, names: set[str]) -> Tokens:
    """ "Alexa, play …", "hey Siri, what …"."""
    at = 1 if tokens[0] in _CALL else 0
    if len(tokens) < at + 3 or tokens[at] not in CALLED or tokens[at + 1] not in _SPOKEN:
        return tokens
    if not at and tokens[at] == "google":
        return tokens  # "google how to …" is a verb
    rest = tokens[at + 1 :]
    if rest[0] in {"can", "could", "would", "will"} and rest[1] not in {"you", "i"}:
        return tokens  # "AI can …"
    return rest


_ONE_OF = {
    "anybody": "anyone", "somebody": "someone", "everybody": "everyone",
}  # fmt: skip
SOMEBODY = frozenset(_ONE_OF)


def somebody(tokens: Tokens, names: set[str]) -> Tokens:
    return [_ONE_OF.get(token, token) for token in tokens]


_BE = frozenset({"is", "am"})


def future(tokens: Tokens, names: set[str]) -> Tokens:
    """ "is it going to rain" as "will it rain"."""
    at = tokens.index("going")
    if tokens[at + 1 : at + 2] != ["to"] or at + 3 > len(tokens) or tokens[at + 2] in _NO_VERBS:
        return tokens
    for back in range(at - 1, max(-1, at - 6), -1):
        if tokens[back] in _BE:
            between = tokens[back + 1 : at]
            asked = back == 0 or tokens[back - 1] in QUESTIONS
            if between in ([], ["not"]) or (asked and TENSES.isdisjoint(between)):
                return [*tokens[:back], "will", *between, *tokens[at + 2 :]]
            break
    return tokens


_NO_VERBS = frozenset("the a an my your his her our their this that school work bed church".split())
_WHO_HAS = frozenset("i you we they one".split())


def have_to(tokens: Tokens, names: set[str]) -> Tokens:
    """ "do I have to" as "do I need to"."""
    if tokens[0] == "do" and tokens[2:4] == ["have", "to"] and tokens[1] in _WHO_HAS:
        return [*tokens[:2], "need", *tokens[3:]]
    return tokens


def feel(tokens: Tokens, names: set[str]) -> Tokens:
    """ "how does it feel to" as "what does it feel like to"."""
    if tokens[:5] == ["how", "do", "it", "feel", "to"]:
        return ["what", "do", "it", "feel", "like", *tokens[4:]]
    return tokens


_MEASURED = {"old": "age", "tall": "height"}
MEASURES = frozenset({"how", "cost", "price"})
_ARTICLES = frozenset({"a", "an", "the"})


def measure(tokens: Tokens, names: set[str]) -> Tokens:
    """ "how old is X" as "what is the age of X"; "what does X cost" as "the cost of X"."""
    if len(tokens) < 4:
        return tokens
    first, second, third = tokens[:3]
    rest = tokens[3:]
    if first == "how" and second in _MEASURED and third == "is" and _is_noun(rest):
        return ["what", "is", _MEASURED[second], "of", *rest]
    if tokens[-1] != "cost":
        return tokens
    asked = tokens[2:-1] if (first, second) == ("what", "do") else tokens[3:-1]
    if (first, second) != ("what", "do") and (first, second, third) != ("how", "much", "do"):
        return tokens
    return ["what", "is", "cost", "of", *asked] if _is_noun(asked) else tokens


def _is_noun(tokens: Tokens) -> bool:
    return bool(tokens) and len(tokens) <= 5 and _NO_PART.isdisjoint(tokens)


_NO_PART = (FUNCTION_WORDS - DIRECTIONS - _ARTICLES - {"my", "your", "this", "that"}) | {
    "to",
    "than",
}

PARTICLES = frozenset("on off up down".split())
_PARTED = frozenset("turn switch shut power".split())


def particle(tokens: Tokens, names: set[str]) -> Tokens:
    """ "turn the light off" as "turn off the light"."""
    verb = 2 if tokens[:2] == ["how", "to"] else 0
    if len(tokens) < verb + 3 or tokens[verb] not in _PARTED:
        return tokens
    for at in range(verb + 2, min(len(tokens), verb + 7)):
        word = tokens[at]
        if word in PARTICLES:
            return [*tokens[: verb + 1], word, *tokens[verb + 1 : at], *tokens[at + 1 :]]
        if word in DIRECTIONS or tokens[verb + 1] in DIRECTIONS:
            break
    return tokens
