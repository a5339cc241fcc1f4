"""A body is one strict JSON object, and its members keep their bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.openai.json_body import MAX_DEPTH, MAX_PARTS, NotStrictJson, decode_object, raw_members

NAMES = st.sampled_from(["a", "b", ":", "a:b", '"', "\\", "é", "\u2028", "", "\\u003a", "{", "a\n"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.sampled_from([":", '{"a":1,"a":2}', "::", "\\u003a"]),
)


class Pairs(list[tuple[str, Any]]):
    """An object as its members in order, so that a name can stand in it twice."""


VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(st.tuples(NAMES, inner), max_size=4).map(Pairs),
    ),
    max_leaves=8,
)
OBJECTS = st.lists(st.tuples(NAMES, VALUES), max_size=4).map(Pairs)


def written(value: Any, escape: Any) -> str:
    """A value as JSON text; ``escape`` says how each string is spelled."""
    if isinstance(value, Pairs):
        members = (f"{escape(name)} :{written(item, escape)}" for name, item in value)
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(written(item, escape) for item in value) + "]"
    return escape(value) if isinstance(value, str) else json.dumps(value)


def all_escaped(text: str) -> str:
    units = text.encode("utf-16-be")
    return '"' + "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)) + '"'


def spellings(data: st.DataObject) -> Any:
    ways = [json.dumps, lambda text: json.dumps(text, ensure_ascii=False), all_escaped]
    return data.draw(st.sampled_from(ways))


def has_duplicates(value: Any) -> bool:
    if isinstance(value, Pairs):
        names = [name for name, _ in value]
        return len(set(names)) < len(names) or any(has_duplicates(item) for _, item in value)
    return isinstance(value, list) and any(map(has_duplicates, value))


@settings(max_examples=150, deadline=None)
@given(OBJECTS, st.data())
def test_exactly_the_bodies_with_a_duplicate_member_are_refused(
    pairs: Pairs, data: st.DataObject
) -> None:
    body = written(pairs, spellings(data)).encode()
    if has_duplicates(pairs):
        with pytest.raises(NotStrictJson, match="twice in one object"):
            decode_object(body)
    else:
        assert decode_object(body) == json.loads(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":1,"\\u003a":2,"a":3}',
        b'{":":1,"\\u003A":2}',
        b'{"x":[{"y":{"z":1,"z":2}}]}',
        b'{"a":1,"b":"\\u003a","a":2}',
        b'{"":1,"":2}',
        b'{"a":{"b":1},"c":"\\u003a\\u003a","a":{"b":1}}',
    ],
)
def test_a_duplicate_cannot_hide(body: bytes) -> None:
    with pytest.raises(NotStrictJson, match="twice"):
        decode_object(body)


def test_the_duplicate_is_named() -> None:
    with pytest.raises(NotStrictJson, match="'prompt'"):
        decode_object(b'{"prompt":"a","x":1,"prompt":"b"}')


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{}{}",
        b"{},",
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":01}',
        b'{"a":.5}',
        b'{"a":+1}',
        b'{"a":"\t"}',
        b'{"a":"\\x"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00\\ud800"}',
        b'{"\\ud800":1}',
        b"\xef\xbb\xbf{}",
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\xc0\xaf"}',
        b'{"a":"\xe2\x82"}',
        b'{"a":1}\x00',
        '{"a":1}'.encode("utf-16"),
        b'{"a":1 /* no */}',
    ],
)
def test_what_is_not_strict_json_is_refused(body: bytes) -> None:
    with pytest.raises(NotStrictJson):
        decode_object(body)


@pytest.mark.parametrize("body", [b"[]", b"1", b'"a"', b"null", b"true", b"[{}]"])
def test_only_an_object_is_a_body(body: bytes) -> None:
    with pytest.raises(NotStrictJson, match="must be a JSON object"):
        decode_object(body)


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
def test_nesting_ends_at_the_bound(opened: str, closed: str) -> None:
    def nested(levels: int) -> bytes:
        inner = levels - 1  # the body itself is the first level
        return ('{"x":' + opened * inner + "1" + closed * inner + "}").encode()

    assert decode_object(nested(MAX_DEPTH))
    with pytest.raises(NotStrictJson, match="nested deeper"):
        decode_object(nested(MAX_DEPTH + 1))


@pytest.mark.parametrize("levels", [1_000, 2_000, 200_000])
def test_absurd_nesting_is_refused_and_not_walked(levels: int) -> None:
    with pytest.raises(NotStrictJson):
        decode_object(b'{"x":' + b"[" * levels + b"]" * levels + b"}")


def test_many_brackets_that_are_not_deep_are_fine() -> None:
    body = b'{"x":[' + b",".join([b"[]"] * 500) + b'],"y":"' + b"[" * 500 + b'"}'
    assert len(decode_object(body)["x"]) == 500


@pytest.mark.parametrize(
    "value",
    [
        b"1.0",
        b"1e2",
        b"0.1000000000000000055511151231257827",
        b"123456789012345678901234567890",
        b'"\\u0041\\/"',
        b'{"b" : [1,\n2] ,"a":0.0}',
        '"é😀"'.encode(),
    ],
)
def test_a_raw_member_keeps_every_byte(value: bytes) -> None:
    body = b'{"a": ' + value + b' , "b":1}'
    decode_object(body)
    assert bytes(raw_members(body)["a"]) == value


@settings(max_examples=60, deadline=None)
@given(OBJECTS.filter(lambda pairs: not has_duplicates(pairs)), st.data())
def test_raw_members_are_the_members(pairs: Pairs, data: st.DataObject) -> None:
    spell = spellings(data)
    texts = [(name, written(item, spell)) for name, item in pairs]
    body = ("{" + ",".join(f"{spell(name)}:{text}" for name, text in texts) + "}").encode()
    assert {n: bytes(raw) for n, raw in raw_members(body).items()} == {
        name: text.encode() for name, text in texts
    }


def parts(unit: bytes, count: int) -> bytes:
    return b'{"y":[' + b",".join([unit] * count) + b"]}"


@pytest.mark.parametrize("unit", [b"[]", b"{}", b'""', b'{"a":0}'])
def test_more_parts_than_any_request_needs_are_refused_undecoded(unit: bytes) -> None:
    with pytest.raises(NotStrictJson, match="more than"):
        decode_object(parts(unit, MAX_PARTS + 1))


def test_a_mebibyte_of_token_ids_is_a_good_body() -> None:
    assert len(decode_object(parts(b"12345", 170_000))["y"]) == 170_000


@pytest.mark.parametrize("text", ["[]{},", '"', "\\", '\\"[', "[" * 9 + '"'])
def test_what_stands_in_strings_is_not_counted(text: str) -> None:
    document = {"y": text * 100_000}
    assert decode_object(json.dumps(document).encode()) == document
