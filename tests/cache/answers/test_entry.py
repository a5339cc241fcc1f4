"""What is kept comes back as it was, or not at all."""

from __future__ import annotations

import tracemalloc
import zlib
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.core.usage import Usage
from cache.answers.entry import COMPRESSED_FROM, CacheEntry, Undecodable, decode, encode

NOW = 1_700_000_000_000
NAME = "hg1:{acme}:answer:2:00ff"
ANSWER = CacheEntry(
    b'{"id":"cmpl-1"}', "openai", "gpt", Usage(3, 5), 120, NOW, NOW + 900, NOW + 5000, NOW, NOW
)
LARGE = ANSWER._replace(body=b'{"text":"' + b"abcdefg " * 800 + b'"}')
# Every byte of its compressed form says much, and most of it is said at the end.
REPETITIVE = ANSWER._replace(body=b"a" * 5000)

TIMES = st.integers(0, 2**52)
ANSWERS = st.builds(
    CacheEntry,
    body=st.binary(max_size=200)
    | st.binary(min_size=1, max_size=9).map(lambda piece: piece * COMPRESSED_FROM),
    provider=st.text(st.characters(codec="utf-8"), max_size=9),
    model=st.text(st.characters(codec="utf-8"), max_size=9),
    # An entry keeps no details: a hit has read no provider's cache, and thought nothing.
    usage=st.tuples(st.integers(0, 10**9), st.integers(0, 10**9), st.booleans()).map(
        lambda counts: Usage(*counts)
    ),
    cost=st.integers(0, 2**53),
    asked=TIMES,
    stored=TIMES,
    fresh=TIMES,
    revalidate=TIMES,
    on_error=TIMES,
)


def decoded(data: bytes) -> CacheEntry | None:
    """The answer in these bytes, None where they hold none; anything else that is raised fails."""
    try:
        return decode(data, NAME)
    except Undecodable:
        return None


@settings(deadline=None)
@given(ANSWERS)
def test_what_is_kept_comes_back(answer: CacheEntry) -> None:
    assert decode(encode(answer, NAME), NAME) == answer


@pytest.mark.parametrize("size", [0, 1, COMPRESSED_FROM - 1, COMPRESSED_FROM, 1 << 20])
def test_a_body_of_any_size_comes_back(size: int) -> None:
    answer = ANSWER._replace(body=b"\n" * size)
    assert decode(encode(answer, NAME), NAME) == answer


def test_a_small_body_stands_there_as_it_is() -> None:
    assert encode(ANSWER, NAME).endswith(b"\n" + ANSWER.body)


def test_a_large_body_takes_less_room() -> None:
    assert len(encode(LARGE, NAME)) < len(LARGE.body) / 4


def test_the_script_finds_its_three_numbers_first() -> None:
    assert encode(ANSWER, NAME).startswith(b"[%d,%d,%d," % (NOW, NOW + 900, NOW + 5000))


def test_an_answer_is_kept_while_anything_can_be_done_with_it() -> None:
    assert ANSWER._replace(fresh=1, revalidate=2, on_error=3).kept_until == 3
    assert ANSWER._replace(fresh=3, revalidate=2, on_error=1).kept_until == 3


@pytest.mark.parametrize(
    "answer", [ANSWER, LARGE, REPETITIVE], ids=["small", "large", "repetitive"]
)
def test_no_beginning_of_an_answer_is_an_answer(answer: CacheEntry) -> None:
    data = encode(answer, NAME)
    assert [cut for cut in range(len(data)) if decoded(data[:cut]) is not None] == []


@pytest.mark.parametrize(
    "answer", [ANSWER, LARGE, REPETITIVE], ids=["small", "large", "repetitive"]
)
def test_an_answer_with_something_after_it_is_no_answer(answer: CacheEntry) -> None:
    assert decoded(encode(answer, NAME) + b"\0") is None


def _wrong(answer: CacheEntry, places: range) -> list[tuple[int, int]]:
    """Where one other byte makes another answer of it."""
    data = encode(answer, NAME)
    found = []
    for place in places:
        for value in range(256):
            spoilt = data[:place] + bytes([value]) + data[place + 1 :]
            if decoded(spoilt) not in (None, answer):
                found.append((place, value))
    return found


@pytest.mark.parametrize("answer", [ANSWER, REPETITIVE], ids=["small", "compressed"])
def test_one_wrong_byte_in_the_head_never_makes_another_answer(answer: CacheEntry) -> None:
    assert _wrong(answer, range(encode(answer, NAME).index(b"\n") + 1)) == []


@pytest.mark.parametrize("answer", [ANSWER, REPETITIVE], ids=["small", "compressed"])
def test_one_wrong_byte_in_the_body_never_makes_another_answer(answer: CacheEntry) -> None:
    data = encode(answer, NAME)
    assert _wrong(answer, range(data.index(b"\n") + 1, len(data))) == []


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_spoilt_anywhere_it_is_no_other_body(data: st.DataObject) -> None:
    answer = data.draw(st.sampled_from([ANSWER, LARGE, REPETITIVE]))
    whole = encode(answer, NAME)
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 4)))
    found = decoded(whole[:start] + data.draw(st.binary(max_size=4)) + whole[end:])
    assert found is None or found.body == answer.body


@pytest.mark.parametrize("answer", [ANSWER, LARGE, REPETITIVE])
@pytest.mark.parametrize(
    "other", ["", NAME[:-1], NAME + "0", NAME.replace("acme", "evil"), NAME.replace("ff", "fe")]
)
def test_under_another_name_it_is_no_answer(answer: CacheEntry, other: str) -> None:
    with pytest.raises(Undecodable):
        decode(encode(answer, NAME), other)


def test_an_entry_of_an_older_release_is_no_answer() -> None:
    whole = encode(ANSWER, NAME)
    line, _, body = whole.split(b"\n", 2)
    assert decoded(line + b"\n%08x\n" % zlib.crc32(line + body) + body) is None


# What somebody else may have written


def head(body: bytes, **changed: Any) -> bytes:
    """An entry with a right checksum, and what else is said of it changed."""
    members = {
        "asked": 1, "stored": 1, "fresh": 1, "revalidate": 1, "on_error": 1, "prompt": 1,
        "completion": 1, "estimated": False, "cost": 1, "size": 0, "provider": "p", "model": "m",
    }  # fmt: skip
    line = orjson.dumps(list((members | changed).values()))
    return line + b"\n%08x\n" % zlib.crc32(NAME.encode() + line + body) + body


@pytest.mark.parametrize(
    "size", [-1, -100, 1.5, 4e3, True, "5", [], None, 2**63, 2**64 - 1], ids=repr
)
def test_a_size_that_is_none_is_told(size: Any) -> None:
    found = decoded(head(zlib.compress(b"x" * 5000), size=size))
    assert found is None or found.body == b"x" * 5000 or not size


@pytest.mark.parametrize("size", range(4900, 5100))
def test_only_the_right_size_is_right(size: int) -> None:
    found = decoded(head(zlib.compress(b"a" * 5000, 1), size=size))
    assert (found is not None) == (size == 5000)


@pytest.mark.parametrize("size", [1, 4096, 1 << 20])
def test_a_bomb_takes_no_more_room_than_it_says(size: int) -> None:
    bomb = head(zlib.compress(bytes(64 << 20)), size=size)
    tracemalloc.start()
    try:
        found = decoded(bomb)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found is None
    assert peak < size + (4 << 20)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"[]\n",
        b"null\n",
        b"5\n",
        b'"abcdefghijklm"\n',
        b"[1,2,3,4,5,6,7,8,9,0,0,1,2,3]\n",
        b"[1,2,3\n",
        b"[" * 5000 + b"\n",
        b"\xff\xfe\n",
        b"x" * 100_000,
    ],
    ids=lambda data: repr(data[:24]),
)
def test_rubbish_is_no_answer(data: bytes) -> None:
    assert decoded(data) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("asked", "1"),
        ("fresh", None),
        ("stored", []),
        ("on_error", 1.5),
        ("prompt", "3"),
        ("cost", None),
        ("provider", 5),
        ("model", None),
    ],
)
def test_a_member_of_another_type_makes_it_no_answer(name: str, value: Any) -> None:
    # Whoever uses it later would fail there.
    assert decoded(head(b"{}", **{name: value})) is None


@given(st.binary(max_size=80))
@example(b"[1,1,1,1,1,1,1,1,1,0,0,1,1]\n")
def test_any_bytes_are_an_answer_or_none(data: bytes) -> None:
    decoded(data)
