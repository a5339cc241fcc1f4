"""Patterns of what is volatile: linear time, bounded work, and no pattern that makes all prompts one."""

from __future__ import annotations

import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.values.patterns import MAX_LENGTH, MAX_MATCHES, Patterns, compiled


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Sum this up. request id ab-12", "Sum this up. "),
        ("request id \u00e9\u4e16 then 2026-11-21", " then "),
        ("nothing volatile", "nothing volatile"),
        ("request id 7", "request id 7"),  # nothing would be left
        ("half \ud800 request id 7", "half \ud800 request id 7"),  # no UTF-8 says this
        ("", ""),
    ],
)
def test_what_matches_does_not_count(text: str, left: str) -> None:
    assert Patterns([r"request id \S+", r"\d{4}-\d\d-\d\d"]).without(text) == left


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("", "1 to 256 characters"),
        ("x" * (MAX_LENGTH + 1), "1 to 256 characters"),
        ("(", "missing )"),
        (r"(a)\1", "invalid escape sequence"),
        ("a(?=b)", "invalid perl operator"),
        ("a{5000}", "invalid repetition size"),
        (r"\d*", "matches nothing"),
        ("(?:)", "matches nothing"),
        (".+", "whole prompts"),
        (r"[\w\W]+", "whole prompts"),
        (r"\S+", "whole prompts"),
    ],
)
def test_a_pattern_that_cannot_be_used_says_why(pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=None) as raised:
        compiled(pattern)
    assert said in str(raised.value)


def test_without_its_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(ValueError, match="headgate\\[patterns\\]"):
        compiled("a+")


@pytest.mark.parametrize("pattern", [r"(a+)+b", r"(a|a)+b", r"(a|aa)+$x", r"a.*b.*c.*d"])
def test_no_text_takes_a_pattern_long(pattern: str) -> None:
    """A backtracking engine would take longer than there is time for the first three."""
    patterns = Patterns([pattern])
    began = time.process_time()
    patterns.without("a" * 200_000)
    assert time.process_time() - began < 1


def test_the_matches_in_one_text_are_bounded() -> None:
    left = Patterns(["x+"]).without("yx" * 10_000)
    assert left.count("x") == 10_000 - MAX_MATCHES


@given(st.text(st.characters(codec="utf-8")), st.text("0123456789", min_size=1))
def test_two_ids_leave_one_text(text: str, number: str) -> None:
    patterns = Patterns([r"\bticket [0-9]+"])
    one = patterns.without(f"{text} ticket 1 open")
    assert one == patterns.without(f"{text} ticket {number} open")


def test_other_patterns_have_another_identity() -> None:
    assert Patterns(["a", "b"]).identity != Patterns(["b", "a"]).identity
    assert Patterns(["a"]).identity == Patterns(["a"]).identity
