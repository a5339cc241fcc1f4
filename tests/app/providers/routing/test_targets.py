"""The pickers: shares, stickiness and order, as properties of the choice alone."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.pricing import Price
from app.core.usage import Usage
from app.providers.routing.targets import (
    Choice,
    Load,
    Pick,
    Picker,
    hash_share,
    in_order,
    prefix_key,
    sticky_key,
)

PICKERS: list[Picker] = ["weighted", "sticky", "least_busy", "cheapest", "prefix"]
choices = st.lists(
    st.builds(
        Choice,
        name=st.text(min_size=1, max_size=8),
        tier=st.integers(0, 3),
        weight=st.just(0.0) | st.floats(0.001, 100),
        price=st.none() | st.builds(Price, st.integers(0, 10**6), st.integers(0, 10**6)),
    ),
    max_size=8,
    unique_by=lambda choice: choice.name,
)
loads = st.dictionaries(
    st.text(max_size=8), st.builds(Load, st.integers(0, 9), st.none() | st.floats(0.001, 9))
)


def pick(picker: Picker = "weighted", seed: int = 1, **more: Any) -> Pick:
    return Pick(picker, random.Random(seed).random, **more)


@given(choices, st.sampled_from(PICKERS), st.integers(), st.binary(), loads)
def test_an_order_has_every_target_once_and_tiers_in_turn(
    found: list[Choice], picker: Picker, seed: int, key: bytes, busy: dict[str, Load]
) -> None:
    order = in_order(found, pick(picker, seed, key=key, loads=busy))
    assert sorted(order) == [at for at, choice in enumerate(found) if choice.weight > 0]
    tiers = [found[at].tier for at in order]
    assert tiers == sorted(tiers)


def test_shares_follow_the_weights() -> None:
    found = [Choice("a", weight=7), Choice("b", weight=2), Choice("c", weight=1)]
    chance = random.Random(7).random
    firsts = Counter(in_order(found, Pick("weighted", chance))[0] for _ in range(10_000))
    assert [firsts[at] / 10_000 for at in range(3)] == pytest.approx([0.7, 0.2, 0.1], abs=0.03)


def test_what_is_left_is_drawn_by_weight_too() -> None:
    found = [Choice("a"), Choice("b", weight=3), Choice("c", weight=1)]
    chance = random.Random(7).random
    orders = [in_order(found, Pick("weighted", chance)) for _ in range(10_000)]
    seconds = Counter(order[1] for order in orders if order[0] == 0)
    assert seconds[1] / sum(seconds.values()) == pytest.approx(0.75, abs=0.04)


# Sticky


@given(choices, st.binary())
def test_the_same_key_meets_the_same_target_on_every_replica(
    found: list[Choice], key: bytes
) -> None:
    one, other = (in_order(found, pick("sticky", seed, key=key)) for seed in (1, 2))
    assert one == other
    names = [found[at].name for at in one]
    turned = [found[-at - 1] for at in range(len(found))]
    again = [turned[at].name for at in in_order(turned, pick("sticky", key=key))]
    assert again == names  # whatever order the file has them in


@given(choices.filter(lambda found: len(found) > 1), st.binary())
def test_a_target_that_goes_away_moves_only_its_own_keys(found: list[Choice], key: bytes) -> None:
    before = [found[at].name for at in in_order(found, pick("sticky", key=key))]
    left = found[1:]
    after = [left[at].name for at in in_order(left, pick("sticky", key=key))]
    assert after == [name for name in before if name != found[0].name]


def test_keys_are_shared_out_by_weight() -> None:
    found = [Choice("a", weight=3), Choice("b", weight=1)]
    keys = [str(number).encode() for number in range(8_000)]
    firsts = Counter(in_order(found, pick("sticky", key=key))[0] for key in keys)
    assert firsts[0] / len(keys) == pytest.approx(0.75, abs=0.03)


def test_a_key_is_its_tenants_own() -> None:
    assert sticky_key("a", "user-1") != sticky_key("b", "user-1")
    assert sticky_key("a", "", None, "user", "key") == sticky_key("a", "user")
    assert sticky_key("ab", "c") != sticky_key("a", "bc")


def test_a_share_is_between_nothing_and_one() -> None:
    shares = [hash_share(str(number).encode(), "a") for number in range(4_000)]
    assert all(0 < share < 1 for share in shares)
    assert sum(shares) / len(shares) == pytest.approx(0.5, abs=0.02)


# Least busy


def test_of_two_the_less_busy_is_asked() -> None:
    found = [Choice("a"), Choice("b")]
    busy = {"a": Load(4, 0.1), "b": Load(1, 0.1)}
    orders = {tuple(in_order(found, pick("least_busy", seed, loads=busy))) for seed in range(50)}
    assert orders == {(1, 0)}


def test_a_slow_target_counts_as_busy() -> None:
    found = [Choice("a"), Choice("b")]
    busy = {"a": Load(1, 0.1), "b": Load(0, 9.0)}
    assert in_order(found, pick("least_busy", loads=busy)) == [0, 1]


def test_a_target_without_a_measurement_is_as_fast_as_its_peers() -> None:
    found = [Choice("a"), Choice("b"), Choice("new")]
    busy = {"a": Load(0, 0.2), "b": Load(0, 0.2), "new": Load(1, None)}
    firsts = Counter(
        in_order(found, pick("least_busy", seed, loads=busy))[0] for seed in range(300)
    )
    assert firsts[2] == 0  # it has a call in flight; ranked first it would draw everybody


def test_two_are_drawn_so_that_not_all_fall_on_the_idlest() -> None:
    found = [Choice(name) for name in "abcdef"]
    busy = {name: Load(number, 0.1) for number, name in enumerate("abcdef")}
    firsts = Counter(
        in_order(found, pick("least_busy", seed, loads=busy))[0] for seed in range(600)
    )
    assert 0 < firsts[0] < 400
    assert firsts[5] == 0


# Cheapest


def test_the_cheapest_for_this_request_is_asked_first() -> None:
    found = [
        Choice("unknown"),
        Choice("long", price=Price(1, 100)),
        Choice("short", price=Price(100, 1)),
    ]
    asks_much = pick("cheapest", usage=Usage(10**9, 1))
    says_much = pick("cheapest", usage=Usage(1, 10**9))
    assert in_order(found, asks_much) == [1, 2, 0]
    assert in_order(found, says_much) == [2, 1, 0]


def test_equal_prices_are_drawn() -> None:
    found = [Choice("a", price=Price(1, 1)), Choice("b", price=Price(1, 1))]
    assert {in_order(found, pick("cheapest", seed))[0] for seed in range(50)} == {0, 1}


# Prefix


def test_an_overloaded_server_steps_back() -> None:
    found = [Choice("a"), Choice("b"), Choice("c")]
    idle = in_order(found, pick("prefix", key=b"k"))
    first = found[idle[0]].name
    assert in_order(found, pick("prefix", key=b"k", loads={first: Load(3)})) == [*idle[1:], idle[0]]
    evenly = {choice.name: Load(3) for choice in found}
    assert in_order(found, pick("prefix", key=b"k", loads=evenly)) == idle


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"prompt": "x" * 1024 + "a"}, {"prompt": "x" * 1024 + "b"}, True),
        ({"prompt": "a" + "x" * 1024}, {"prompt": "b" + "x" * 1024}, False),
        ({"prompt": [7] * 256 + [1]}, {"prompt": [7] * 256 + [2]}, True),
        ({"prompt": [1, 2]}, {"prompt": [1, 3]}, False),
        ({"prompt": ["a", "b"]}, {"prompt": ["a", "c"]}, True),
    ],
)
def test_a_prefix_is_the_beginning_of_the_prompt(
    one: dict[str, Any], other: dict[str, Any], same: bool
) -> None:
    assert (prefix_key("t", "m", one) == prefix_key("t", "m", other)) == same


def test_a_conversation_stays_where_it_began() -> None:
    begun = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    more = [*begun, {"role": "assistant", "content": "a"}, {"role": "user", "content": "v"}]
    assert prefix_key("t", "m", {"messages": begun}) == prefix_key("t", "m", {"messages": more})
    assert prefix_key("t", "m", {"messages": begun}) != prefix_key("o", "m", {"messages": begun})
