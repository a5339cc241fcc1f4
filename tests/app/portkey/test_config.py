"""Routing configs as clients send them: what is read, what is inherited, and what is refused where."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.portkey.conditions import Mistake
from app.portkey.config import (
    MAX_BYTES,
    CacheWish,
    Group,
    Leaf,
    Retry,
    parse_config,
    place_text,
    read_config,
)
from app.portkey.legs import leaves

A = {"provider": "p", "override_params": {"model": "a"}}
B = {"provider": "p", "override_params": {"model": "b"}}


def group(mode: str, *targets: Any, strategy: Any = None, **more: Any) -> dict[str, Any]:
    return {"strategy": {"mode": mode} | (strategy or {}), "targets": list(targets)} | more


def leaf_of(config: Any) -> Leaf:
    node = parse_config(config)
    assert isinstance(node, Leaf)
    return node


def first_leaf(config: Any) -> Leaf:
    return next(leaves(parse_config(config)))


def mistake(config: Any) -> tuple[str, str]:
    """The place of what is wrong, and what is said of it."""
    with pytest.raises(Mistake) as caught:
        parse_config(config)
    return place_text(caught.value.path), caught.value.message


def test_a_target_needs_no_more_than_a_provider() -> None:
    leaf = leaf_of({"provider": "p"})
    assert (leaf.path, leaf.provider, leaf.weight, dict(leaf.overrides)) == ("config", "p", 1.0, {})


def test_a_virtual_key_names_the_provider_and_so_does_an_at_sign() -> None:
    assert leaf_of({"virtual_key": "p"}).provider == "p"
    assert leaf_of({"provider": "@p"}).provider == "p"
    assert mistake({"provider": "p", "virtual_key": "q"})[0] == "config.virtual_key"


def test_paths_name_each_target_from_the_root() -> None:
    config = group("fallback", A, group("loadbalance", B, A))
    assert [leaf.path for leaf in leaves(parse_config(config))] == [
        "config.targets[0]",
        "config.targets[1].targets[0]",
        "config.targets[1].targets[1]",
    ]


def test_overrides_are_merged_member_by_member_and_the_inner_wins() -> None:
    inner = {"provider": "p", "override_params": {"a": 2, "c": None}}
    leaf = first_leaf(group("single", inner, override_params={"a": 1, "b": 1}))
    assert leaf.overrides == {"a": 2, "b": 1}


def test_retry_and_cache_are_inherited_whole() -> None:
    outer = {"retry": {"attempts": 1, "on_status_codes": [418]}, "cache": {"mode": "semantic"}}
    assert first_leaf(group("single", A, **outer)).retry == Retry(1, frozenset({418}))
    assert first_leaf(group("single", A, **outer)).cache == CacheWish(True, None)
    own = A | {"retry": {"attempts": 2}, "cache": {"mode": "simple", "max_age": 60}}
    leaf = first_leaf(group("single", own, **outer))
    assert (leaf.retry, leaf.cache) == (Retry(2), CacheWish(False, 60))


def test_time_limits_and_headers_are_inherited_and_the_inner_wins() -> None:
    outer = {"request_timeout": 300, "forward_headers": ["X-Team"]}
    leaf = first_leaf(group("single", A, **outer))
    assert (leaf.timeout, leaf.forward) == (0.3, ("x-team",))
    own = A | {"request_timeout": 5000, "forward_headers": []}
    leaf = first_leaf(group("single", own, **outer))
    assert (leaf.timeout, leaf.forward) == (5.0, ())


def test_null_is_absent() -> None:
    assert leaf_of({"provider": "p", "retry": None, "strategy": None}).retry is None


def test_credentials_cookies_and_hop_by_hop_headers_are_not_forwarded_though_named() -> None:
    names = ["authorization", "x-api-key", "Cookie", "connection", "te", "x-auth-token", "x-team"]
    assert leaf_of({"provider": "p", "forward_headers": names}).forward == ("x-team",)


NESTED_FIVE: Any = A
for _ in range(5):
    NESTED_FIVE = group("single", NESTED_FIVE)


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ([], "config"),
        ("text", "config"),
        (A | {"retires": {}}, "config.retires"),
        (A | {"input_guardrails": ["g"]}, "config.input_guardrails"),
        (A | {"api_key": "sk"}, "config.api_key"),
        (A | {"aws_secret_access_key": "x"}, "config.aws_secret_access_key"),
        (A | {"cb_config": {}}, "config.cb_config"),
        (group("fallback", A, A | {"retires": {}}), "config.targets[1].retires"),
        (group("fallback", A, group("single", A | {"x": 1})), "config.targets[1].targets[0].x"),
        ({"targets": [A]}, "config.targets"),
        ({"strategy": {"mode": "single"}, "provider": "p"}, "config.targets"),
        (group("fallback"), "config.targets"),
        (group("roundrobin", A), "config.strategy.mode"),
        ({"strategy": {}, "targets": [A]}, "config.strategy.mode"),
        (group("single", A, strategy={"modus": 1}), "config.strategy.modus"),
        (
            group("fallback", A, strategy={"on_status_codes": 429}),
            "config.strategy.on_status_codes",
        ),
        (
            group("fallback", A, strategy={"on_status_codes": ["429"]}),
            "config.strategy.on_status_codes",
        ),
        (group("loadbalance", A | {"weight": 0}), "config.targets"),
        (group("loadbalance", A | {"weight": "1"}), "config.targets[0].weight"),
        (group("loadbalance", A | {"weight": -1}), "config.targets[0].weight"),
        (A | {"retry": {"on_status_codes": [429]}}, "config.retry.attempts"),
        (A | {"retry": {"attempts": "2"}}, "config.retry.attempts"),
        (A | {"retry": {"attempts": 6}}, "config.retry.attempts"),
        (A | {"retry": {"attempts": 1, "wait": 1}}, "config.retry.wait"),
        (A | {"cache": {"mode": "exact"}}, "config.cache.mode"),
        (A | {"cache": {"mode": "simple", "max_age": "1"}}, "config.cache.max_age"),
        (A | {"request_timeout": 0}, "config.request_timeout"),
        (A | {"request_timeout": "5"}, "config.request_timeout"),
        (A | {"override_params": []}, "config.override_params"),
        (A | {"forward_headers": "x-team"}, "config.forward_headers"),
        (A | {"forward_headers": ["x-portkey-config"]}, "config.forward_headers[0]"),
        (A | {"forward_headers": ["a b"]}, "config.forward_headers[0]"),
        (A | {"strict_open_ai_compliance": "yes"}, "config.strict_open_ai_compliance"),
        (group("single", *[A] * 17), "config.targets[16]"),
        (NESTED_FIVE, "config" + ".targets[0]" * 4),
        (group("conditional", A), "config.strategy.conditions"),
        (
            group("conditional", A, strategy={"conditions": [{"query": {}, "then": "A"}]}),
            "config.strategy.conditions[0].then",
        ),
        (
            group(
                "conditional",
                A | {"name": "A"},
                strategy={"conditions": [{"query": {}, "then": "A"}], "default": "B"},
            ),
            "config.strategy.default",
        ),
        (
            group(
                "conditional",
                A | {"name": "A"},
                strategy={"conditions": [{"query": {"metadata.a": {"$x": 1}}, "then": "A"}]},
            ),
            "config.strategy.conditions[0].query.metadata.a.$x",
        ),
    ],
)
def test_what_is_not_understood_is_refused_with_its_place(config: Any, place: str) -> None:
    assert mistake(config)[0] == place


def test_what_looks_like_a_credential_is_called_one() -> None:
    assert "credentials" in mistake(A | {"api_key": "sk"})[1]


def test_sixteen_targets_and_four_groups_are_not_too_many() -> None:
    nested: Any = group("single", *[A] * 16)
    for _ in range(3):
        nested = group("single", nested)
    assert len(list(leaves(parse_config(nested)))) == 16


def test_a_config_has_a_bound() -> None:
    with pytest.raises(Mistake):
        read_config(orjson.dumps(A | {"name": "n" * MAX_BYTES}))


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["strategy", "targets", "mode", "provider", "retry", "attempts", "x"]),
            inner,
            max_size=3,
        )
    ),
)


@given(json)
def test_nothing_that_is_sent_crashes(value: Any) -> None:
    try:
        node = parse_config(value)
    except Mistake:
        return
    assert isinstance(node, Leaf | Group)
