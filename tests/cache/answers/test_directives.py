"""What callers say to the cache: every legal spelling is understood, the rest is told by name."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidRequest
from cache.answers.directives import DEFAULT, CacheDirectives, asks_only_cached, read_directives

TTL = b"x-headgate-cache-ttl"
NAMESPACE = b"x-headgate-cache-namespace"


def said(control: str) -> CacheDirectives:
    return read_directives({b"cache-control": control.encode()})


def problems(headers: dict[bytes, bytes]) -> list[str | None]:
    with pytest.raises(InvalidRequest) as caught:
        read_directives(headers)
    assert caught.value.status == 400
    return [problem.param for problem in caught.value.details]


def test_a_caller_who_says_nothing_gets_the_usual() -> None:
    assert read_directives({b"accept": b"*/*"}) == DEFAULT == CacheDirectives()


@pytest.mark.parametrize(
    ("control", "directives"),
    [
        ("no-cache", CacheDirectives(read=False)),
        ("no-store", CacheDirectives(write=False)),
        ("no-cache, no-store", CacheDirectives(read=False, write=False)),
        ("max-age=0", CacheDirectives(max_age=0)),
        ("max-age=60", CacheDirectives(max_age=60)),
        ("only-if-cached", CacheDirectives(only_if_cached=True)),
        ("only-if-cached, max-age=7", CacheDirectives(only_if_cached=True, max_age=7)),
        ("", DEFAULT),
    ],
)
def test_every_directive_is_read(control: str, directives: CacheDirectives) -> None:
    assert said(control) == directives


@pytest.mark.parametrize(
    ("control", "directives"),
    [
        ("No-Cache", CacheDirectives(read=False)),
        ("MAX-AGE=60", CacheDirectives(max_age=60)),
        ("no-cache,no-store", CacheDirectives(read=False, write=False)),
        (" ,, no-cache ,\t no-store ,", CacheDirectives(read=False, write=False)),
        ('max-age="60"', CacheDirectives(max_age=60)),
        ("max-age=0060", CacheDirectives(max_age=60)),
        ("no-cache, no-cache", CacheDirectives(read=False)),
        ("max-age=60, max-age=60", CacheDirectives(max_age=60)),
        ('no-cache="set-cookie"', CacheDirectives(read=False)),
    ],
)
def test_odd_spellings_are_understood(control: str, directives: CacheDirectives) -> None:
    assert said(control) == directives


@pytest.mark.parametrize(
    "control",
    [
        "no-transform, min-fresh=x, max-stale",
        "stale-if-error=5",
        "s-maxage=soon",
        "no-cachex, xno-store",
        "no_store",
        "private",
        "community=UCI",
        "=5",
        "=",
        ";",
        "\x00",
    ],
)
def test_directives_that_a_cache_need_not_know_are_ignored(control: str) -> None:
    assert said(control) == DEFAULT


def test_a_comma_in_a_quoted_argument_begins_no_directive() -> None:
    assert said('x="a, no-store, max-age=soon", no-cache') == CacheDirectives(read=False)


@pytest.mark.parametrize(
    "control", ["max-age", "max-age=", "max-age=-1", "max-age=1.5", "max-age=soon", 'max-age="']
)
def test_an_age_that_is_no_number_of_seconds_is_told(control: str) -> None:
    assert problems({b"cache-control": control.encode()}) == ["cache-control"]


def test_an_age_in_other_digits_is_told() -> None:
    assert problems({b"cache-control": "max-age=٣".encode()}) == ["cache-control"]


@pytest.mark.parametrize("age", ["2147483648", "9999999999", "99999999999999999999"])
def test_an_age_that_is_too_large_is_the_largest(age: str) -> None:
    # RFC 9111, section 1.2.2: a recipient must take it for the greatest number that it has.
    directives = said(f"max-age={age}")
    assert directives.max_age is not None
    assert directives.max_age >= 10**9 - 1


def test_of_two_ages_the_first_or_the_shorter_counts() -> None:
    # RFC 9111, section 4.2.1.
    assert said("max-age=5, max-age=500").max_age == 5


@pytest.mark.parametrize(("text", "seconds"), [(b"0", 0), (b"60", 60), (b" 60 ", 60)])
def test_a_time_to_live_is_whole_seconds(text: bytes, seconds: int) -> None:
    assert read_directives({TTL: text}) == CacheDirectives(ttl=seconds)


@pytest.mark.parametrize("text", [b"", b"-1", b"1.5", b"1h", b"\xb2", b"1" * 30])
def test_another_time_to_live_is_told(text: bytes) -> None:
    assert problems({TTL: text}) == [TTL.decode()]


@pytest.mark.parametrize("name", [b"a", b"A-b_c.9", b"x" * 64, b".."])
def test_a_namespace_is_a_short_name(name: bytes) -> None:
    assert read_directives({NAMESPACE: name}).namespace == name.decode()


@pytest.mark.parametrize("name", [b"", b"x" * 65, b"a/b", b"a b", b"a\n", "é".encode(), b"{a}"])
def test_another_namespace_is_told(name: bytes) -> None:
    assert problems({NAMESPACE: name}) == [NAMESPACE.decode()]


def test_everything_wrong_is_told_at_once() -> None:
    wrong = {b"cache-control": b"max-age=x", TTL: b"x", NAMESPACE: b"/"}
    assert problems(wrong) == ["cache-control", TTL.decode(), NAMESPACE.decode()]


@given(st.binary(max_size=40), st.binary(max_size=12), st.binary(max_size=12))
def test_whatever_stands_there_is_read_or_told(
    control: bytes, ttl: bytes, namespace: bytes
) -> None:
    with suppress(InvalidRequest):
        directives = read_directives({b"cache-control": control, TTL: ttl, NAMESPACE: namespace})
        assert directives.ttl is not None
        assert 1 <= len(directives.namespace) <= 64


@given(st.permutations(["no-cache", "no-store", "max-age=5", "only-if-cached", "foo=bar"]))
def test_the_order_of_directives_means_nothing(directives: list[str]) -> None:
    expected = CacheDirectives(read=False, write=False, max_age=5, only_if_cached=True)
    assert said(", ".join(directives)) == expected


@pytest.mark.parametrize(
    ("control", "asks"),
    [
        (b"only-if-cached", True),
        (b"max-age=5, Only-If-Cached", True),
        (b"no-cache", False),
        (b"x-only-if-cached-not", False),
        (b'x="only-if-cached"', False),
    ],
)
def test_both_readers_agree_on_only_if_cached(control: bytes, asks: bool) -> None:
    headers = {b"cache-control": control}
    assert (asks_only_cached(headers), read_directives(headers).only_if_cached) == (asks, asks)


def test_without_the_header_nobody_asks_for_cached_answers_only() -> None:
    assert not asks_only_cached({})
