"""Widths and alphabets are those of RE2's own matches."""

from __future__ import annotations

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from app.guardrails.matching.pattern import BadPattern, Pattern
from app.guardrails.matching.pattern_shape import shape_of


@pytest.mark.parametrize(
    ("pattern", "narrowest", "widest"),
    [
        ("abc", 3, 3),
        ("a|bc+", 1, None),
        (r"\d{2,5}?x?", 2, 6),
        (r"(?P<a>x)(?:y|zz){3}", 4, 7),
        (r"\Qa.b\E\b$", 3, 3),
        ("[]a-c]{2}[^]]", 3, 3),
        (r"\x{4e00}\pL\p{Greek}", 3, 3),
        ("()", 0, 0),
        ("[[:alpha:]_]{4}", 4, 4),
        ("x{3,}", 3, None),
        ("{a}", 3, 3),
    ],
)
def test_the_width_of_a_pattern(pattern: str, narrowest: int, widest: int | None) -> None:
    re2.compile(pattern)
    shape = shape_of(pattern)
    assert (shape.narrowest, shape.widest) == (narrowest, widest)


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        (r"\d+", "09", "a "),
        (r"[\w.-]@", "az_.-@", " +"),
        ("(?i)ab", "aAbB", "c"),
        (r"[!-&]\x20", "!#& ", "'"),
    ],
)
def test_the_alphabet_of_a_pattern(pattern: str, inside: str, outside: str) -> None:
    alphabet = shape_of(pattern).alphabet
    assert alphabet is not None
    assert set(inside) <= alphabet
    assert not set(outside) & alphabet


@pytest.mark.parametrize("pattern", [".", "[^a]", r"\W", r"\pL", r"[\x{100}-\x{200}\D]"])
def test_what_may_match_anything_has_no_alphabet(pattern: str) -> None:
    assert shape_of(pattern).alphabet is None


ATOMS = ["a", "b", r"\d", "[ab]", "[^b]", ".", r"\w", "(?:ab|c)", "(b)", r"\s", r"\.", "[a-c1-]"]
REPEATS = ["", "?", "*", "+", "{2}", "{1,3}", "+?", "{2,}"]
patterns = st.lists(
    st.tuples(st.sampled_from(ATOMS), st.sampled_from(REPEATS)), min_size=1, max_size=4
).map(lambda parts: "".join(atom + repeat for atom, repeat in parts))


@given(
    pattern=st.lists(patterns, min_size=1, max_size=2).map("|".join),
    text=st.text("ab1. c-", max_size=12),
)
def test_no_match_is_wider_or_narrower_or_of_other_letters(pattern: str, text: str) -> None:
    shape = shape_of(pattern)
    for found in re2.finditer(pattern, text):
        size = found.end() - found.start()
        assert shape.narrowest <= size
        assert shape.widest is None or size <= shape.widest
        assert shape.alphabet is None or set(found.group()) <= shape.alphabet


@pytest.mark.parametrize("pattern", ["(?=a)b", r"(a)\1", "(?<!x)y", "[", "a{2000}", "(?>a)"])
def test_what_re2_cannot_do_is_refused_with_its_reason(pattern: str) -> None:
    with pytest.raises(BadPattern, match="RE2 cannot do it"):
        Pattern("x", pattern)


def test_a_pattern_that_never_fits_is_refused() -> None:
    with pytest.raises(BadPattern, match="300 characters at least"):
        Pattern("x", "a{300}", max_match=256)
