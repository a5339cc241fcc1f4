"""JSON that is none, as servers write it."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.openai import lenient_json
from app.openai.lenient_json import NotJson, decode


@pytest.mark.parametrize("bare", [b"NaN", b"Infinity", b"-Infinity"])
def test_what_is_no_number_is_null(bare: bytes) -> None:
    assert decode(b'{"a":[-0.5,%b],"NaN":"NaN"}' % bare) == {"a": [-0.5, None], "NaN": "NaN"}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"\\ud800", "\ufffd"),
        (b"\\uDC00", "\ufffd"),
        (b"a\\ud83db", "a\ufffdb"),
        (b"\\ude00\\ud83d", "\ufffd\ufffd"),
        (b"\\ud83d\\ud83d\\ude00", "\ufffd😀"),
        (b"\\ud83d\\ude00\\ude00", "😀\ufffd"),
        (b"\\\\ud800 \\ud800", "\\ud800 \ufffd"),
        ("é😀\\ud800".encode(), "é😀\ufffd"),
    ],
)
def test_half_a_pair_is_a_replacement_character(written: bytes, read: str) -> None:
    value = decode(b'{"%b":["%b"]}' % (written, written))
    assert value == {read: [read]}
    assert orjson.loads(orjson.dumps(value)) == value


def test_both_at_once_are_put_right() -> None:
    assert decode(b'["\\ud800",NaN]') == ["\ufffd", None]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"nan",
        b"[NaN",
        b"-NaN",
        b"01",
        b"{NaN:1}",
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\n"',
        b"[" * 200_000,
        b"[NaN," + b"[" * 200_000,
        b"\xef\xbb\xbf[NaN]",
        b"[NaN," + b"1" * 5000 + b"]",
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(NotJson):
        decode(data)


def test_lenience_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lenient_json, "MAX_LENIENT_BYTES", 10)
    assert decode(b"[NaN,NaN]") == [None, None]
    assert decode(b"[1,1,1,1,1,1,1]") == [1] * 7
    with pytest.raises(NotJson):
        decode(b"[NaN,NaN,NaN]")


TEXTS = st.text(st.characters(codec=None), max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(VALUES, st.booleans())
def test_whatever_python_writes_is_read_and_can_be_written(value: Any, ascii_only: bool) -> None:
    written = json.dumps(value, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    try:
        read = decode(written)
    except NotJson:
        assert not ascii_only  # a surrogate as it is, and not as an escape, is no UTF-8
        return
    again = orjson.dumps(read)
    assert orjson.loads(again) == read
    if written == json.dumps(read, ensure_ascii=ascii_only).encode():
        assert read == value
