"""A tree becomes frozen structs, or every reason why not."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta, Struct

from app.config.decoding import Decoder, Fault, path_text
from app.config.values.quantities import Duration, Secret, Size


class Inner(Struct, frozen=True, kw_only=True):
    name: str
    size: Size = Size(1)


class One(Struct, frozen=True, kw_only=True, tag_field="kind", tag="one"):
    x: int = 0


class Two(Struct, frozen=True, kw_only=True, tag_field="kind", tag="two"):
    y: int = 0


class Outer(Struct, frozen=True, kw_only=True):
    count: Annotated[int, Meta(ge=1, le=9)] = 1
    ratio: float = 0.5
    on: bool = False
    wait: Duration = Duration(1)
    key: Secret = Secret("")
    mode: Literal["a", "b"] = "a"
    words: tuple[str, ...] = ()
    inner: Inner | None = None
    inners: dict[str, Inner] = {}
    some: tuple[Inner, ...] = ()
    either: dict[str, One | Two] = {}


def decoded(value: Any) -> tuple[Any, list[Fault]]:
    decoder = Decoder()
    return decoder.decode(Outer, value), decoder.faults


def fault_of(value: Any) -> tuple[str, str]:
    result, faults = decoded(value)
    assert result is None
    [fault] = faults
    return path_text(fault.path), fault.message


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ({"count": 9}, 9),
        ({"count": "9"}, 9),
        ({"ratio": 1}, 1.0),
        ({"ratio": "0.25"}, 0.25),
        ({"on": True}, True),
        ({"on": "true"}, True),
        ({"wait": "50ms"}, 0.05),
        ({"mode": "b"}, "b"),
        ({"words": ["x", "y"]}, ("x", "y")),
        ({"words": "x"}, ("x",)),
        ({"inner": None}, None),
        ({"inner": {"name": "n", "size": "1KiB"}}, Inner(name="n", size=Size(1024))),
        ({"some": [{"name": "n"}]}, (Inner(name="n"),)),
        ({"either": {"p": {"kind": "two", "y": 3}}}, {"p": Two(y=3)}),
        ({"key": "k"}, Secret("k")),
    ],
)
def test_a_right_value_is_taken(member: dict[str, Any], expected: Any) -> None:
    result, faults = decoded(member)
    assert faults == []
    [name] = member
    assert getattr(result, name) == expected


@pytest.mark.parametrize(
    ("tree", "path", "words"),
    [
        (None, "(top level)", "expected a mapping, not nothing"),
        ([], "(top level)", "expected a mapping, not a list"),
        ({"cuont": 1}, "cuont", "did you mean `count`?"),
        ({"zzz": 1}, "zzz", "expected one of count"),
        ({"count": 0}, "count", "expected a whole number >= 1"),
        ({"count": 10}, "count", "expected a whole number <= 9"),
        ({"count": "x"}, "count", "expected a whole number"),
        ({"count": 1.5}, "count", "expected a whole number"),
        ({"count": None}, "count", "expected a whole number"),
        ({"on": "maybe"}, "on", "expected true or false"),
        ({"wait": "soon"}, "wait", "expected a duration"),
        ({"mode": "c"}, "mode", "expected one of a, b, not 'c'"),
        ({"mode": ["a"]}, "mode", "expected"),
        ({"words": 5}, "words", "expected a text"),
        ({"words": [1]}, "words[0]", "expected a text"),
        ({"words": None}, "words", "expected a list, not nothing"),
        ({"inner": {}}, "inner.name", "is missing"),
        ({"inner": "x"}, "inner", "expected a mapping, not a text"),
        ({"inners": {"a": {"name": 5}}}, "inners.a.name", "expected a text"),
        ({"inners": [1]}, "inners", "expected a mapping, not a list"),
        ({"some": [{"name": "a"}, {"name": 1}]}, "some[1].name", "expected a text"),
        ({"either": {"p": {}}}, "either.p.kind", "is missing; expected one or two"),
        ({"either": {"p": {"kind": "three"}}}, "either.p.kind", "unknown kind 'three'"),
        ({"either": {"p": {"kind": ["one"]}}}, "either.p.kind", "expected one or two"),
        ({"either": {"p": {"kind": {"one": 1}}}}, "either.p.kind", "expected one or two"),
        ({"either": {"p": 5}}, "either.p", "expected a mapping with `kind`"),
        ({"either": {"p": {"kind": "one", "y": 1}}}, "either.p.y", "unknown setting"),
    ],
)
def test_a_wrong_value_is_told_where_and_what_would_be_right(
    tree: Any, path: str, words: str
) -> None:
    place, message = fault_of(tree)
    assert place == path
    assert words in message


def test_all_problems_are_found_in_one_go() -> None:
    tree = {
        "count": 0,
        "mode": "c",
        "wait": "soon",
        "what": 1,
        "inners": {"a": {"name": 1, "size": "x"}, "b": {}},
        "some": [5, {"nmae": "x"}],
    }
    _, faults = decoded(tree)
    assert [path_text(fault.path) for fault in faults] == [
        "what",
        "count",
        "wait",
        "mode",
        "inners.a.name",
        "inners.a.size",
        "inners.b.name",
        "some[0]",
        "some[1].nmae",
        "some[1].name",
    ]


@pytest.mark.parametrize("wrong", [123456789, 987654.321, True, ["hunter2"], {"hunter2": 1}])
def test_a_wrong_secret_is_not_shown(wrong: Any) -> None:
    _, message = fault_of({"key": wrong})
    assert not any(text in message for text in ("123456789", "987654", "hunter2"))


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*Outer.__struct_fields__, "kind", "name", "size", "x", "p"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(Outer.__struct_fields__), TREES, max_size=5))
def test_any_tree_is_a_struct_or_a_list_of_faults(tree: Any) -> None:
    result, faults = decoded(tree)
    assert (result is None) == bool(faults)
