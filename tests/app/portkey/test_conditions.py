"""Queries on requests: each operator, what is absent, and what is refused with its place."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.portkey.conditions import MAX_PATTERN, Mistake, holds, names_in, parse_query

ROOTS = frozenset({"params.", "metadata.", "url.pathname", "stream"})


def asked(query: Any, **metadata: Any) -> bool:
    return holds(parse_query(query, ROOTS), {"metadata": metadata, "stream": True})


def mistake(query: Any) -> Mistake:
    with pytest.raises(Mistake) as caught:
        parse_query(query, ROOTS)
    return caught.value


@pytest.mark.parametrize(
    ("condition", "value", "held"),
    [
        ("paid", "paid", True),
        ("paid", "free", False),
        ({"$eq": 20}, 20, True),
        ({"$eq": 20}, 20.0, True),
        ({"$eq": 20}, "20", False),
        ({"$eq": 1}, True, False),
        ({"$eq": True}, True, True),
        ({"$ne": "paid"}, "free", True),
        ({"$ne": "paid"}, "paid", False),
        ({"$gt": 10}, 11, True),
        ({"$gt": 10}, 10, False),
        ({"$gt": 10}, "11", True),
        ({"$gt": "10"}, 11, True),
        ({"$gt": 10}, "many", False),
        ({"$gt": 10}, True, False),
        ({"$gte": 10}, 10, True),
        ({"$lt": 10}, 9.5, True),
        ({"$lt": 10}, 10, False),
        ({"$lte": 10}, 10, True),
        ({"$in": ["a", "b"]}, "b", True),
        ({"$in": ["1"]}, 1, False),
        ({"$nin": ["a"]}, "b", True),
        ({"$nin": ["a"]}, "a", False),
        ({"$regex": "b+"}, "abbc", True),
        ({"$regex": "^b"}, "abbc", False),
        ({"$regex": "1"}, 1, False),
        ({"$gte": 10, "$lt": 20}, 20, False),
        ({"$gte": 10, "$lt": 20}, 15, True),
        ({"$regex": "^x", "$ne": "xy"}, "xy", False),
    ],
)
def test_each_operator(condition: Any, value: Any, held: bool) -> None:
    assert asked({"metadata.x": condition}, x=value) == held


@pytest.mark.parametrize(
    ("condition", "held"),
    [
        ({"$eq": "a"}, False),
        ({"$ne": "a"}, True),
        ({"$gt": 0}, False),
        ({"$lt": 0}, False),
        ({"$in": ["a"]}, False),
        ({"$nin": ["a"]}, True),
        ({"$regex": ""}, False),
    ],
)
def test_what_is_absent_equals_nothing(condition: Any, held: bool) -> None:
    assert asked({"metadata.x": condition}) == held
    assert asked({"metadata.x": condition}, x=None) == held


def test_all_members_of_a_query_must_hold() -> None:
    query = {"metadata.a": "1", "$or": [{"metadata.b": "1"}, {"metadata.c": "1"}]}
    assert asked(query, a="1", c="1")
    assert not asked(query, a="1")
    assert not asked(query, b="1")
    assert asked({"$and": [{"metadata.a": "1"}, {"metadata.b": "2"}]}, a="1", b="2")
    assert not asked({"$and": [{"metadata.a": "1"}, {"metadata.b": "2"}]}, a="1")
    assert asked({})


def test_names_go_as_deep_as_they_say() -> None:
    assert asked({"metadata.a.b.1.c": "x"}, a={"b": [{}, {"c": "x"}]})
    assert asked({"metadata.a.b": "x"}, **{"a.b": "x"})
    assert not asked({"metadata.a.b.9": "x"}, a={"b": ["x"]})
    assert not asked({"metadata.a.b": "x"}, a="x")


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ([], ()),
        ({"metadata.x": {"$regx": "a"}}, ("metadata.x", "$regx")),
        ({"metadata.x": {}}, ("metadata.x",)),
        ({"metadata.x": None}, ("metadata.x",)),
        ({"metadata.x": ["a"]}, ("metadata.x",)),
        ({"metadata.x": {"$in": "a"}}, ("metadata.x", "$in")),
        ({"metadata.x": {"$in": [{}]}}, ("metadata.x", "$in", 0)),
        ({"metadata.x": {"$gt": "many"}}, ("metadata.x", "$gt")),
        ({"metadata.x": {"$regex": "("}}, ("metadata.x", "$regex")),
        ({"metadata.x": {"$regex": "(a)\\1"}}, ("metadata.x", "$regex")),
        ({"metadata.x": {"$regex": "a" * (MAX_PATTERN + 1)}}, ("metadata.x", "$regex")),
        ({"$or": []}, ("$or",)),
        ({"$or": {"metadata.x": 1}}, ("$or",)),
        ({"$or": [{"metadata.x": 1}, {"$not": 1}]}, ("$or", 1, "$not")),
        ({"metdata.x": 1}, ("metdata.x",)),
        ({"metadata": 1}, ("metadata",)),
        ({"metadata.": 1}, ("metadata.",)),
        ({"url.host": "x"}, ("url.host",)),
    ],
)
def test_a_mistake_is_told_with_its_place(query: Any, path: tuple[str | int, ...]) -> None:
    assert mistake(query).path == path


def test_conditions_stand_in_each_other_eight_deep() -> None:
    query: Any = {"metadata.x": 1}
    for _ in range(9):
        query = {"$and": [query]}
    assert "deep" in mistake(query).message


def test_a_pattern_takes_linear_time() -> None:
    query = parse_query({"metadata.x": {"$regex": "^(a+)+$"}}, ROOTS)
    began = time.perf_counter()
    assert not holds(query, {"metadata": {"x": "a" * 20_000 + "b"}})
    assert time.perf_counter() - began < 1  # a backtracking engine needs longer than there is


def test_the_names_of_a_query() -> None:
    query = parse_query({"$or": [{"metadata.a": 1}, {"params.b": {"$gt": 1, "$lt": 2}}]}, ROOTS)
    assert names_in(query) == {"metadata.a", "params.b"}


json = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("$or"), inner),
)


@given(json)
def test_nothing_that_is_written_crashes(value: Any) -> None:
    try:
        query = parse_query(value, ROOTS)
    except Mistake:
        return
    holds(query, {})
