"""Two requests are in one partition, and have one key, exactly when they should."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.loading import load
from app.core.errors import InvalidRequest
from app.policy.caching import CachePlans
from app.policy.callers import key_ring
from cache.answers.directives import CacheDirectives
from cache.semantic.query import SemanticQuery, query_of
from cache.serving.lookup import CacheLookup
from tests.harness.chain import call_of

SECRETS = {name: f"hg-{name}-0123456789abcdef" for name in ("web", "job", "far")}
ASK, AGAIN, ELSE = (
    "How do I feed a wombat in winter?",
    "please, how do i feed wombats in winter",
    "How do I feed a wombat in summer?",
)


class Static:
    """An encoder that is never asked."""

    def __init__(self, identity: str) -> None:
        self.identity = identity

    async def vector(self, text: str) -> bytes | None:
        raise AssertionError(text)


ENCODERS = {"one": Static("one@1"), "two": Static("two@1")}


def configured() -> str:
    def cached(scope: str = "tenant", encoder: str | None = None, **semantic: Any) -> Any:
        chosen = {"enabled": True, "encoder": encoder} | semantic
        targets = [{"provider": "up", "model": "m-1"}]
        return {"targets": targets, "cache": {"scope": scope, "semantic": chosen}}

    remote = {"kind": "openai", "provider": "up", "model": "e"}
    document = {
        "providers": {"up": {"kind": "openai", "base_url": "http://127.0.0.1:9/v1"}},
        "encoders": {"one": remote, "two": remote},
        "models": {
            "house": cached(),
            "twin": cached(),
            "one": cached(encoder="one"),
            "two": cached(encoder="two"),
            "own": cached("key"),
            "all": cached("global"),
            "reuse": cached(sampled="reuse"),
            "german": cached(languages=["en", "de"]),
        },
        "tenants": {"acme": {}, "other": {}},
        "keys": [
            {"id": "web", "tenant": "acme", "secret": SECRETS["web"]},
            {"id": "job", "tenant": "acme", "secret": SECRETS["job"]},
            {"id": "far", "tenant": "other", "secret": SECRETS["far"]},
        ],
    }
    return orjson.dumps(document).decode()  # JSON is YAML


SETTINGS = load(configured()).settings
PLANS = CachePlans(SETTINGS, ENCODERS)
KEYS = key_ring(SETTINGS)


def query(
    document: dict[str, Any], name: str = "web", namespace: str = "", plans: CachePlans = PLANS
) -> SemanticQuery | None:
    key = KEYS.find(SECRETS[name].encode())
    assert key is not None
    call = call_of(key=key, **({"prompt": None} if "messages" in document else {}) | document)
    plan = plans.of(key, call.request.model)
    assert plan is not None
    assert plan.meaning is not None
    lookup = CacheLookup(call, plan, CacheDirectives(), plan.where(call.family, namespace))
    lookup.identify(lookup.where.fingerprints(call.request, lookup.headers))
    return query_of(lookup, plan.meaning)


def identity(document: dict[str, Any], name: str = "web", namespace: str = "") -> tuple[bytes, ...]:
    found = query(document, name, namespace)
    assert found is not None
    return found.partition, found.key


# One partition, and what it does to keys.


def test_a_paraphrase_has_one_key_and_another_fingerprint() -> None:
    one, other = query({"prompt": ASK}), query({"prompt": AGAIN})
    assert one is not None
    assert other is not None
    assert (one.partition, one.key) == (other.partition, other.key)
    assert one.digest != other.digest


def test_another_question_has_another_key_in_one_partition() -> None:
    one, other = identity({"prompt": ASK}), identity({"prompt": ELSE})
    assert (one[0] == other[0], one[1] == other[1]) == (True, False)


@pytest.mark.parametrize(
    "other",
    [
        {"model": "twin"}, {"model": "one"}, {"model": "two"}, {"model": "own"}, {"model": "all"},
        {"name": "far"}, {"namespace": "blue"},
    ],
    ids=str,
)  # fmt: skip
def test_another_place_is_another_partition(other: dict[str, str]) -> None:
    where = {key: value for key, value in other.items() if key != "model"}
    model = {"model": other["model"]} if "model" in other else {}
    one, changed = identity({"prompt": ASK}), identity({"prompt": ASK} | model, **where)
    assert one[0] != changed[0]
    assert one[1] != changed[1]


def test_an_encoders_identity_is_part_of_the_partition() -> None:
    newer = CachePlans(SETTINGS, ENCODERS | {"one": Static("one@2")})
    older = CachePlans(SETTINGS, ENCODERS)
    document = {"model": "one", "prompt": ASK}
    mine, other = query(document, plans=older), query(document, plans=newer)
    assert mine is not None
    assert other is not None
    assert mine.partition != other.partition


@pytest.mark.parametrize(
    ("model", "job", "far"), [("house", True, False), ("own", False, False), ("all", True, True)]
)
def test_a_scope_says_who_shares_a_partition(model: str, job: bool, far: bool) -> None:
    document = {"model": model, "prompt": ASK}
    one = identity(document)
    assert (identity(document, "job") == one) is job
    assert (identity(document, "far") == one) is far


def test_a_prompt_is_no_message() -> None:
    said = {"messages": [{"role": "user", "content": ASK}]}
    assert identity({"prompt": ASK})[0] != identity(said)[0]


# Any members.

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "max_tokens": st.sampled_from([1, 16, 17]),
    "temperature": st.sampled_from([0, 0.1, 1]),
    "top_p": st.sampled_from([0.5, 0.9, 1]),
    "seed": st.sampled_from([1, 2, 2**53, 2**53 + 1]),
    "stop": st.sampled_from(["a", "b", ["a", "b"], ["b", "a"]]),
    "presence_penalty": st.sampled_from([0, 0.5]),
    "frequency_penalty": st.sampled_from([0, 0.5]),
    "logit_bias": st.sampled_from([{"1": 1}, {"1": 2}, {"2": 1}]),
    "min_p": st.sampled_from([0.05, 0.1]),
    "guided_json": st.sampled_from([{"a": 1}, {"a": True}, {"a": "1"}, {"a": [1, 2]}, {"a": None}]),
    "response_format": st.sampled_from([{"type": "text"}, {"type": "json_object"}]),
    "unheard_of": st.recursive(
        st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a"]),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner),
        max_leaves=4,
    ),
}
DEFAULTS = {
    "max_tokens": 16, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0,
}  # fmt: skip

members = st.fixed_dictionaries(
    {"seed": VALUES["seed"]}, optional={n: v for n, v in VALUES.items() if n != "seed"}
)


def meant(document: dict[str, Any]) -> Any:
    """What a document says, defaults made explicit, true apart from 1."""
    plain = DEFAULTS | {"temperature": 0} | document
    if isinstance(plain.get("stop"), str):
        plain["stop"] = [plain["stop"]]
    return typed(plain)


def typed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: typed(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [typed(inner) for inner in value]
    return (type(value) is bool, value)


@given(members, members)
def test_partitions_are_equal_exactly_where_all_else_is(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    mine, yours = identity({"prompt": ASK} | one), identity({"prompt": AGAIN} | other)
    assert (mine == yours) == (meant(one) == meant(other))
    assert (mine[0] == yours[0]) == (mine[1] == yours[1])


@given(members, st.data())
def test_one_changed_member_is_another_partition(one: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(VALUES)))
    other = one | {name: data.draw(VALUES[name])}
    same = identity({"prompt": ASK} | one) == identity({"prompt": ASK} | other)
    assert same == (meant(one) == meant(other))


@given(members)
def test_how_an_answer_is_delivered_is_no_difference(one: dict[str, Any]) -> None:
    other = one | {
        "stream": True, "stream_options": {"include_usage": True}, "user": "x", "metadata": {"a": 1}
    }  # fmt: skip
    shuffled = dict(reversed(other.items()))
    assert identity({"prompt": ASK} | one) == identity({"prompt": AGAIN} | shuffled)


ROLES = st.sampled_from(["system", "user", "assistant", "developer"])
WORDS = st.sampled_from(["", "Be brief.", "Be brief", "be brief.", "Hello", "Hello Hello"])
history = st.lists(
    st.fixed_dictionaries(
        {"role": ROLES, "content": WORDS}, optional={"name": st.sampled_from(["A", "B"])}
    ),
    max_size=3,
)


@given(history, history)
def test_every_earlier_message_must_be_equal(
    one: list[dict[str, Any]], other: list[dict[str, Any]]
) -> None:
    def last(text: str) -> dict[str, str]:
        return {"role": "user", "content": text}

    mine = identity({"messages": [*one, last(ASK)]})
    yours = identity({"messages": [*other, last(AGAIN)]})
    assert (mine == yours) == (one == other)
    assert (mine[0] == yours[0]) == (one == other)


# What is no query.

PART = {"type": "text", "text": ASK}
PICTURE = {"type": "image_url", "image_url": {"url": "data:,"}}
USER = {"role": "user", "content": ASK}


@pytest.mark.parametrize(
    "document",
    [
        {"n": 2}, {"best_of": 2}, {"logprobs": 0}, {"logprobs": 3}, {"echo": True},
        {"suffix": ""}, {"suffix": "x"}, {"temperature": 0.1}, {"temperature": None},
        {"tool_choice": "none"}, {"prompt_logprobs": 1}, {"return_token_ids": True},
        {"prompt": [1, 2]}, {"prompt": [[1, 2]]}, {"prompt": [ASK, ASK]}, {"prompt": ""},
        {"prompt": "wombat"}, {"prompt": "x = f(wombat, 1)"},
        {"prompt": " ".join([ASK] * 40)}, {"prompt": "\u0432\u043e\u043c\u0431\u0430\u0442 \u0435\u0441\u0442 \u0442\u0440\u0430\u0432\u0443"},
        {"messages": [USER | {"role": "assistant"}]}, {"messages": [USER | {"name": "A"}]},
        {"messages": [{"role": "user", "content": [PART, PART]}]},
        {"messages": [{"role": "user", "content": [PART, PICTURE]}]},
        {"messages": [{"role": "user", "content": [PICTURE]}, USER]},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}, USER]},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_eligible_is_no_query(document: dict[str, Any]) -> None:
    found = None
    with suppress(InvalidRequest):  # some do not get that far at all
        found = query(({} if "messages" in document else {"prompt": ASK}) | document)
    assert found is None


@pytest.mark.parametrize(
    "document",
    [
        {"seed": 1, "temperature": 1}, {"n": 1}, {"best_of": 0}, {"logprobs": None}, {"echo": False},
        {"suffix": None}, {"prompt": [ASK]}, {"model": "reuse", "temperature": 1},
        {"messages": [USER]}, {"messages": [{"role": "user", "content": [PART]}]},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_eligible_is_a_query(document: dict[str, Any]) -> None:
    before = copy.deepcopy(document)
    assert query(({} if "messages" in document else {"prompt": ASK}) | document) is not None
    assert document == before


def test_a_wide_key_is_no_strict_key() -> None:
    found = query({"prompt": ASK})
    assert found is not None
    assert [tier for tier, _ in found.keys] == ["1", "1b"]
    assert len({key for _, key in found.keys}) == 2
    reworded = query({"prompt": "What is the best way to feed a wombat in winter?"})
    assert reworded is not None
    assert reworded.keys[0] != found.keys[0]
    assert reworded.keys[1] == found.keys[1]


def test_what_ages_has_a_wide_key_only() -> None:
    found = query({"prompt": f"{ASK} Today?"})
    assert found is not None
    assert [tier for tier, _ in found.keys] == ["1b"]
    assert found.form is None


def test_another_language_is_read_where_it_is_switched_on() -> None:
    ask = {"prompt": "Wie koche ich Kartoffeln ohne Salz?"}
    assert query(ask) is None
    found = query(ask | {"model": "german"})
    assert found is not None
    assert [tier for tier, _ in found.keys] == ["1"]
