"""Secrets: keys, tokens and passwords, by rules that are data.

The rules stand in ``data/``: each names a pattern, the words without which it is not tried, and what
the secret itself must look like. Source and licence stand in each file.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from app.guardrails.matching.edges import BEFORE
from app.guardrails.matching.pattern import Check, Pattern, compiled

SETS = ("secrets.json", "gitleaks.json")
MAX_MATCH = 260  # the widest of the rules
RANDOM_ENTROPY = 3.0  # bits a character, by Shannon; words of a language have less at this length
_WORD = re.compile(rb"[A-Za-z]+")
_RUN = re.compile(r"\\(.)")
_RUNS = {"w": "_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", "s": " \t\r\n"}
# What stands in documentation where a secret would stand.
_PLACEHOLDER = re.compile(
    rb"(?i)^(?:[<\[{(*$%]|your|my[-_]|the[-_]|some|xxx|\.\.\.|---|change|replace|insert|example|dummy"
    rb"|none|null|true|false|undefined|required|optional|process\.env|os\.|env\.|config\.|settings\."
    rb"|self\.|this\.|getenv|(?:password|passwd|secret|token|user|string|auth|key)[a-z_. :-]*$|https?:)"
    rb"|(?:x{4,}|\*{3,}|\.{3,}|[(){}<>\[\]]|_here|-here|^[A-Za-z_-]{0,4}1234567890$)"
)
# Where one kind of character (digit, small, capital letter) follows another.
_CHANGE = re.compile(rb"(?=[a-z][A-Z0-9]|[A-Z][a-z0-9]|[0-9][A-Za-z])")
_NAME = re.compile(rb"[A-Za-z_]\w{0,12}(?:\.[A-Za-z_]+)+|[a-z_]+=\d{1,3}|[a-z]+(?:_(?:[a-z]+|\d))+")
# What a hash or an identifier is called.
_NO_SECRET = re.compile(
    rb"(?i)(?:\bsha-?\d|\bmd5\b|hash|digest|checksum|fingerprint|commit|etag"
    rb"|(?:idempotency|primary|partition|foreign|cache|sort|public|row|shard|routing|object)[ _-]?key)"
)
_CODE = re.compile(
    rb"[A-Za-z_][A-Za-z_0-9]*(?:\.[A-Za-z_]\w*)*[(\[]|[a-z_]+=(?:True|False|None|\d)"
)  # a call, an index
_TRAILING = b".,;:!?)]}'\"`*"


@cache
def secret_patterns() -> tuple[Pattern, ...]:
    """Every rule of the sets as a pattern; compiled once, because that takes a second."""
    return tuple(pattern for name in SETS for pattern in _patterns(_read(name)))


def _read(name: str) -> dict[str, Any]:
    text = files("app.guardrails").joinpath("data", name).read_text("utf-8")
    rules: dict[str, Any] = json.loads(text)
    return rules


def _patterns(rules: dict[str, Any]) -> Iterator[Pattern]:
    shared = [compiled(regex) for regex in rules.get("allow", ())]
    for rule in map(_with_prefixes, rules["rules"]):
        run = rule.get("run", "")
        if run is True:
            run = r"\w+/=-"
        yield Pattern(
            "secret",
            rule["regex"],
            keywords=rule.get("keywords", ()),
            lead=rule.get("lead", 0),
            group=rule.get("group", _group_of(rule["regex"]) if rules.get("allow") else 0),
            run=_RUN.sub(lambda escape: _RUNS.get(escape[1], escape[1]), run),
            check=_check_of(rule, shared, rules.get("stop", ())),
            max_match=MAX_MATCH,
            hint=rule.get("hint", ""),
        )


def _with_prefixes(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule that names what tokens begin with, as one with a pattern and keywords."""
    prefixes = rule.get("prefixes")
    if prefixes is None:
        return rule
    named = "|".join(re.escape(prefix) for prefix in prefixes)
    keywords = [prefix.lower() for prefix in prefixes]
    return {**rule, "regex": rf"\b(?:{named}){rule['after']}", "keywords": keywords}


def _group_of(regex: str) -> int:
    """The group that is the secret itself: gitleaks' first, where a rule has one."""
    return min(1, int(compiled(regex).groups))


def _check_of(rule: dict[str, Any], shared: Sequence[Any], stop: Sequence[str]) -> Check:
    entropy = rule.get("entropy", 0.0)
    allowed = [*shared, *(compiled(regex) for regex in rule.get("allow", ()))]
    stops = [word.encode() for word in stop]
    ends, password, token = (rule.get(name, False) for name in ("ends", "password", "token"))
    random, digits = rule.get("random", False), rule.get("digits", False)
    strict, mixed = rule.get("strict", False), rule.get("mixed", False)

    def check(data: bytes, start: int, end: int) -> tuple[int, int] | None:
        if password or token:
            end = start + len(data[start:end].rstrip(_TRAILING))
        value = data[start:end]
        if not value or (ends and _goes_on(data, end)):
            return None
        if any(word in value for word in stops) or any(one.search(value) for one in allowed):
            return None
        if password and not looks_like_a_password(value):
            return None
        if mixed and not is_mixed(value):
            return None
        if (token or random) and (data[end : end + 1] == b"(" or not looks_random(value)):
            return None
        if strict and not is_random(value):
            return None
        if (token or strict) and _NO_SECRET.search(data[max(0, start - BEFORE) : start]):
            return None
        if digits and not re.search(rb"\d", data[start : end + 40]):
            return None
        if entropy and entropy_of(value) < entropy:
            return None
        return start, end

    return check


def looks_like_a_password(value: bytes) -> bool:
    """Whether somebody would type this as a password, and nobody as an example or in a sentence."""
    if len(value) < 5 or _PLACEHOLDER.search(value) or _CODE.match(value):
        return False
    kinds = [rb"[a-z]", rb"[A-Z]", rb"\d", rb"[^A-Za-z0-9]"]
    present = sum(re.search(kind, value) is not None for kind in kinds)
    sentence = re.fullmatch(rb"[A-Z]?[a-z]+(?:[-'/_.][A-Za-z]+){0,2}", value)
    return sentence is None and (present >= 2 or (value.isdigit() and len(value) >= 6))


def looks_random(value: bytes) -> bool:
    """Whether this is a token, and no word, name, path or address."""
    if len(value) < 10 or _PLACEHOLDER.search(value) or _NAME.fullmatch(value):
        return False
    if not re.search(rb"\d", value):
        # Without a digit it takes letters in both cases that make no words.
        changes = len(re.findall(rb"[a-z][A-Z]|[A-Z][a-z]", value))
        return len(value) >= 20 and changes >= len(value) // 4 and entropy_of(value) >= 3.5
    longest = max((len(word) for word in _WORD.findall(value)), default=0)
    if re.fullmatch(rb"[\d.,:/ -]+", value):
        return False  # a number, a date, a version
    few = re.findall(rb"\d", value)
    if len(few) < 2 and longest > len(value) // 2 and value[:1] != b"$":
        return entropy_of(value) >= 3.7
    return entropy_of(value) >= RANDOM_ENTROPY - (0.4 if len(value) < 16 else 0)


def is_mixed(value: bytes) -> bool:
    """Whether this has a digit and is no number and no plain name with one at its end."""
    kinds = (rb"[a-z]", rb"[A-Z]", rb"\d", rb"[^A-Za-z0-9]")
    present = [re.search(kind, value) is not None for kind in kinds]
    return present[2] and sum(present) >= 3 and not value.rstrip(b".,;:!?)").isdigit()


def is_random(value: bytes) -> bool:
    """Whether this was drawn: its characters change their kind more often than any name's do."""
    token = value.rpartition(b"_")[2] if b"_" in value[:8] else value
    few_digits = len(re.findall(rb"\d", token)) < 2
    least = 0.4 if few_digits else 0.28  # three or more capitals in a row are seldom a name's
    changes = len(_CHANGE.findall(token))
    return changes >= least * len(token) and entropy_of(token) >= 3.0


def entropy_of(value: bytes) -> float:
    """Bits a character, by Shannon."""
    size = len(value)
    return -sum(n / size * math.log2(n / size) for n in Counter(value).values())


def _goes_on(data: bytes, end: int) -> bool:
    """Whether a letter, a digit or an underscore follows."""
    following = data[end : end + 1]
    return following.isalnum() or following == b"_"
