"""Whatever the chunking, a stream delivers what the whole text gives, and no match of a rule leaves."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.guardrails.answers.redactor import Found
from app.guardrails.answers.text_filter import JsonFilter, PlainFilter
from app.guardrails.kinds.secrets import secret_patterns
from app.guardrails.matching.pattern import Pattern
from app.guardrails.matching.scanner import Finding, Scanner, Words
from app.guardrails.matching.view import View
from tests.harness.guarded import EMAIL, SECRET

# Patterns of all sorts, over a small alphabet so that they meet: with keywords, with an end and
# without one, anchored, over spaces, with a group, with what runs on.
PATTERNS = [
    Pattern("a", r"(?i)\bsk-\w+", keywords=["sk-"], max_match=12),
    Pattern("b", r"\d(?:[ -]?\d){3,6}"),
    Pattern("c", "ab*c|b.*d", max_match=6),
    Pattern("d", r"^x+$", max_match=8),
    Pattern("e", r"[\w.]+@\w+\.\w{2,3}\b", max_match=20),
    Pattern("f", r"key=([a-z]{3})", keywords=["key"], group=1, run="abc"),
    Pattern("g", "fir"),
    Pattern("h", r"(?s)<.{0,5}>|\bno\b"),
]
WORDS = Words("w", ["foo", "secret word", "é"])
PIECES = [
    *"a b c d sk- 1 2 - foo secret word é @x.de key=abc . xxxxxxxxx < > no fir".split(),
    *(
        " ",
        "\n",
        "secret ",
        "e\u0301",
        "\u200b",
        "\ufb01r",
        "\uff11",
        "\u0301",
        "日本",
        "\U0001f600",
    ),
]
texts = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


@st.composite
def rule_sets(draw: st.DrawFn) -> Scanner:
    chosen = draw(st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=4, unique=True))
    words = [(len(chosen), WORDS)] if draw(st.booleans()) else []
    return Scanner(list(enumerate(chosen)), words)


@st.composite
def cuts(draw: st.DrawFn) -> tuple[str, list[str]]:
    text = draw(texts)
    places = sorted(draw(st.sets(st.integers(0, len(text)), max_size=len(text))))
    edges = [0, *places, len(text)]
    return text, [text[a:b] for a, b in pairwise(edges)]


def label(finding: Finding) -> str | None:
    return f"[{finding.entity.upper()}]"


def through(kind: Any, scanner: Scanner, pieces: list[str], label_of: Any = label) -> str | None:
    """What is delivered; None where the text is refused."""
    one = kind(scanner, label_of)
    try:
        return "".join([one.feed(piece) for piece in pieces] + [one.feed("", final=True)])
    except Found:
        return None


@given(scanner=rule_sets(), cut=cuts())
def test_any_chunking_delivers_what_the_whole_text_gives(
    scanner: Scanner, cut: tuple[str, list[str]]
) -> None:
    text, pieces = cut
    assert through(PlainFilter, scanner, pieces) == through(PlainFilter, scanner, [text])


@given(scanner=rule_sets(), cut=cuts())
def test_so_does_json(scanner: Scanner, cut: tuple[str, list[str]]) -> None:
    written = orjson.dumps({"k": cut[0], "n": 12345}).decode().replace("d", "\\u0064")
    size = max(1, len(cut[1]))
    pieces = [written[at : at + size] for at in range(0, len(written), size)]
    whole = through(JsonFilter, scanner, [written])
    assert through(JsonFilter, scanner, pieces) == whole
    if whole is not None:
        assert set(orjson.loads(whole)) == {"k", "n"}


@given(scanner=rule_sets(), cut=cuts())
def test_a_coarse_limit_changes_nothing_but_when(
    scanner: Scanner, cut: tuple[str, list[str]]
) -> None:
    text, pieces = cut
    coarse = PlainFilter(scanner, label)
    try:
        got: str | None = "".join(
            [coarse.feed(piece, coarse=True) for piece in pieces] + [coarse.feed("", final=True)]
        )
    except Found:
        got = None
    assert got == through(PlainFilter, scanner, [text])


@given(scanner=rule_sets(), cut=cuts())
def test_nothing_that_a_rule_matched_is_delivered(
    scanner: Scanner, cut: tuple[str, list[str]]
) -> None:
    text, pieces = cut
    delivered = through(PlainFilter, scanner, pieces)
    if delivered is None:
        return
    kept = re.sub(r"\[[A-Z]\]", "\0", delivered).split("\0")
    # What is left are the stretches between the findings, in their order.
    found = sorted((f.start, f.end) for f in View(scanner).feed(text, final=True))
    covered = [any(start <= at < end for start, end in found) for at in range(len(text))]
    left = "".join(one for at, one in enumerate(text) if not covered[at])
    assert "".join(kept) == left


@given(scanner=rule_sets(), cut=cuts())
def test_what_is_blocked_is_blocked_before_any_of_it_left(
    scanner: Scanner, cut: tuple[str, list[str]]
) -> None:
    text, pieces = cut
    one = PlainFilter(scanner, lambda _: None)
    sent = ""
    try:
        for piece in pieces:
            sent += one.feed(piece)
        sent += one.feed("", final=True)
    except Found:
        found = [f.start for f in View(scanner).feed(text, final=True)]
        assert text.startswith(sent)
        assert not found or len(sent) <= min(found)
    else:
        assert sent == text


@given(scanner=rule_sets(), text=texts)
def test_no_more_is_held_than_the_widest_match(scanner: Scanner, text: str) -> None:
    if not text.isascii():
        return
    widest = max(
        *(pattern.width for _, pattern in (*scanner.gated, *scanner.open)), scanner.longest_word, 1
    )
    one = PlainFilter(scanner, label)
    for character in text:
        try:
            one.feed(character)
        except Found:
            return
        assert one.held <= widest


def test_many_streams_hold_no_more_than_their_bound() -> None:
    scanner = Scanner([(0, pattern) for pattern in secret_patterns()])
    widest = max(pattern.width for _, pattern in (*scanner.gated, *scanner.open))
    filters = [PlainFilter(scanner, label) for _ in range(200)]
    for _ in range(5):
        for one in filters:
            one.feed("the key to a good day is: " * 40)
    assert max(one.held for one in filters) <= widest


@pytest.mark.parametrize("size", range(1, 24))
def test_a_secret_never_leaves_in_pieces(size: int) -> None:
    scanner = Scanner([(0, pattern) for pattern in secret_patterns()])
    text = f"first {SECRET}, then password: hunter2!x and {SECRET} again"
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    got = through(PlainFilter, scanner, pieces)
    assert got == "first [SECRET], then password: [SECRET] and [SECRET] again"


def test_a_private_key_goes_to_its_end() -> None:
    scanner = Scanner([(0, pattern) for pattern in secret_patterns()])
    body = "\n".join(["MIIEpAIBAAKCAQEA" * 4] * 30)
    text = f"-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\nbye"
    pieces = [text[at : at + 7] for at in range(0, len(text), 7)]
    assert through(PlainFilter, scanner, pieces) == "[SECRET]-----END RSA PRIVATE KEY-----\nbye"


def test_a_cut_match_takes_along_what_hangs_on_to_it() -> None:
    scanner = Scanner([(0, Pattern("x", r"tok-\w+", max_match=8))])
    assert through(PlainFilter, scanner, ["a tok-" + "z" * 500 + " b"]) == "a [X] b"


def test_what_only_the_normal_form_shows_blocks() -> None:
    scanner = Scanner([(0, Pattern("x", "secret"))])
    for hidden in ("\uff53ecret", "sec\u200bret", "s\u00adecret", "\U0001d42c\U0001d41ecret"):
        assert through(PlainFilter, scanner, [f"a {hidden} b"]) is None
        assert through(PlainFilter, scanner, list(f"a {hidden} b")) is None
    assert through(PlainFilter, scanner, ["\uff41 b … \ufb01ne 日本語、です。"]) == (
        "\uff41 b … \ufb01ne 日本語、です。"
    )


def test_a_flood_of_what_nobody_sees_is_not_held_for_ever() -> None:
    scanner = Scanner([(0, Pattern("x", "secret"))])
    assert through(PlainFilter, scanner, ["s" + "\u200b" * 200_000]) is None


def test_an_email_is_found_in_any_neighbourhood() -> None:
    from app.guardrails.kinds.pii import pii_patterns

    scanner = Scanner([(0, pattern) for pattern in pii_patterns(["email"])])
    for text in (f"<{EMAIL}>", f"x\n{EMAIL}.", f"({EMAIL},", EMAIL):
        assert "[EMAIL]" in (through(PlainFilter, scanner, list(text)) or "")
