"""What counts as the same question, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.cache.asking import ONLY_CACHED, ask, how, is_kept, wait_kept, warm
from tests.harness.credentials import COLLEAGUE, KEY, STRANGER
from tests.harness.gateway import Gateway
from tests.harness.prompts import unseen
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

SAID = "say it"
NAMESPACE = {"x-headgate-cache-namespace": "blue"}


def known(gateway: Gateway, body: dict[str, Any], key: str = KEY, headers: Any = ()) -> bool:
    reply = gateway.send(body, key, dict(headers) | ONLY_CACHED)
    assert reply.status in (200, 504), reply.body
    return reply.status == 200


def keep(gateway: Gateway, body: dict[str, Any], key: str = KEY, headers: Any = ()) -> None:
    assert gateway.send(body, key, headers).status == 200
    eventually(lambda: known(gateway, body, key, headers))


# Whose it is.


def test_a_tenant_has_its_answers_to_itself(
    gateway: Gateway, upstream: Upstream, prompt: str
) -> None:
    warm(gateway, prompt)
    assert how(ask(gateway, prompt, COLLEAGUE)) == "hit"
    assert not is_kept(gateway, prompt, STRANGER)
    assert how(ask(gateway, prompt, STRANGER)) == "miss"


def test_a_key_has_its_answers_to_itself_where_the_model_says_so(
    gateway: Gateway, upstream: Upstream, prompt: str
) -> None:
    warm(gateway, prompt, model="by-key")
    assert how(ask(gateway, prompt, COLLEAGUE, model="by-key")) == "miss"
    assert how(ask(gateway, prompt, model="by-key")) == "hit"


def test_everybody_shares_where_the_model_says_so(
    gateway: Gateway, upstream: Upstream, prompt: str
) -> None:
    warm(gateway, prompt, model="everybody")
    assert how(ask(gateway, prompt, STRANGER, model="everybody")) == "hit"
    assert not is_kept(gateway, prompt, STRANGER, NAMESPACE, model="everybody")


def test_a_namespace_has_its_answers_to_itself(
    gateway: Gateway, upstream: Upstream, prompt: str
) -> None:
    warm(gateway, prompt, headers=NAMESPACE)
    assert how(ask(gateway, prompt, headers=NAMESPACE)) == "hit"
    assert how(ask(gateway, prompt, headers={"x-headgate-cache-namespace": "red"})) == "miss"
    assert how(ask(gateway, prompt)) == "miss"
    assert "x-headgate-cache-namespace" not in upstream.requests[0].headers


def test_an_alias_has_its_answers_to_itself(
    gateway: Gateway, upstream: Upstream, prompt: str
) -> None:
    warm(gateway, prompt, model="cached")
    assert how(ask(gateway, prompt, model="twin")) == "miss"


# What else is another question.

OTHERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "min_p": ({"min_p": 0.1}, {"min_p": 0.2}),
    "no min_p": ({}, {"min_p": 0.1}),
    "guided_json": (
        {"guided_json": {"type": "object"}},
        {"guided_json": {"type": "array"}},
    ),
    "order in a list": ({"guided_choice": ["a", "b"]}, {"guided_choice": ["b", "a"]}),
    "repetition_penalty": ({"repetition_penalty": 1.1}, {"repetition_penalty": 1.2}),
    "a deep member": ({"guided_json": {"a": {"b": 1}}}, {"guided_json": {"a": {"b": 2}}}),
    "null in an unknown member": ({"guided_json": {"a": None}}, {"guided_json": {}}),
    "false and zero": ({"guided_json": {"a": False}}, {"guided_json": {"a": 0}}),
    "text and number": ({"guided_json": {"a": "1"}}, {"guided_json": {"a": 1}}),
    "big numbers": ({"seed": 9007199254740993}, {"seed": 9007199254740992}),
    "temperature": ({"temperature": 0}, {"temperature": 0.1}),
    "top_p": ({"top_p": 0.9}, {"top_p": 0.8}),
    "max_tokens": ({"max_tokens": 15}, {}),
    "stop": ({"stop": "a"}, {"stop": "b"}),
    "two stops": ({"stop": ["a", "b"]}, {"stop": ["a"]}),
    "seed": ({"seed": 1}, {"seed": 2}),
    "echo": ({"echo": True}, {}),
    "logprobs": ({"logprobs": 0}, {}),
    "logit_bias": ({"logit_bias": {"5": 1}}, {"logit_bias": {"5": 2}}),
    "best_of": ({"best_of": 2}, {}),
    "n": ({"n": 2}, {}),
    "suffix": ({"suffix": "y"}, {}),
    "suffix split": ({"suffix": "y"}, {"prompt": SAID + "suffix: y"}),
    "suffix split bare": ({"prompt": SAID + " a", "suffix": "b"}, {"suffix": "a b"}),
    "case": ({}, {"prompt": SAID.upper()}),
    "inner white space": ({}, {"prompt": SAID.replace(" ", "  ")}),
    "ids and text": ({"prompt": [11, 12]}, {"prompt": "11,12"}),
    "ids and ids": ({"prompt": [1, 23]}, {"prompt": [12, 3]}),
    "messages and prompt": ({}, {"prompt": None, "messages": [{"role": "user", "content": SAID}]}),
    "penalty": ({"presence_penalty": 0.5}, {"frequency_penalty": 0.5}),
}

SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "zero": ({"temperature": 0}, {"temperature": 0.0}),
    "numbers by value": ({"top_p": 1e-1}, {"top_p": 0.1}),
    "unknown zero": ({"min_p": 0}, {"min_p": 0.0}),
    "deep zero": ({"guided_json": {"a": [1.50]}}, {"guided_json": {"a": [1.5]}}),
    "a list of ids": ({"prompt": [11, 12]}, {"prompt": [[11, 12]]}),
    "member order": (
        {"top_p": 0.5, "guided_json": {"a": 1, "b": 2}},
        {"guided_json": {"b": 2, "a": 1}, "top_p": 0.5},
    ),
    "defaults": (
        {},
        {
            "max_tokens": 16,
            "temperature": 1,
            "top_p": 1,
            "n": 1,
            "best_of": 1,
            "echo": False,
            "frequency_penalty": 0,
            "presence_penalty": 0,
            "logit_bias": {},
            "stop": [],
        },
    ),
    "null": ({}, {"seed": None, "suffix": None, "max_tokens": None, "logprobs": None}),
    "best_of of zero": ({}, {"best_of": 0}),
    "one stop": ({"stop": "a"}, {"stop": ["a"]}),
    "carriage returns": ({"prompt": "a\r\nb"}, {"prompt": "a\nb"}),
    "outer white space": ({}, {"prompt": f"\n {SAID}\t"}),
    "composed": ({"prompt": "e\u0301t\u00e9"}, {"prompt": "\u00e9te\u0301"}),
    "what is delivered otherwise": (
        {},
        {"stream": True, "stream_options": {"include_usage": True}},
    ),
    "who asks and what for": ({}, {"user": "someone", "metadata": {"a": "b"}, "store": True}),
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_can_change_the_answer_makes_another_question(
    gateway: Gateway, upstream: Upstream, case: str
) -> None:
    namespace = {"x-headgate-cache-namespace": f"other-{case.replace(' ', '-')}"}
    first, second = ({"model": "cached", "prompt": SAID} | fields for fields in OTHERS[case])
    keep(gateway, first, headers=namespace)
    assert not known(gateway, second, headers=namespace)
    keep(gateway, second, headers=namespace)
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("case", SAME)
def test_what_means_the_same_is_the_same_question(
    gateway: Gateway, upstream: Upstream, case: str
) -> None:
    namespace = {"x-headgate-cache-namespace": f"same-{case.replace(' ', '-')}"}
    first, second = ({"model": "cached", "prompt": SAID} | fields for fields in SAME[case])
    keep(gateway, first, headers=namespace)
    assert known(gateway, second, headers=namespace)


def test_members_may_come_in_any_order(gateway: Gateway, upstream: Upstream, prompt: str) -> None:
    warm(gateway, prompt, temperature=0.5, min_p=0)
    body = f'{{"min_p": 0.00, "temperature": 5e-1, "prompt": "{prompt}", "model": "cached"}}'
    assert how(gateway.send(body.encode())) == "hit"


@pytest.mark.parametrize(
    ("model", "variant", "same"),
    [
        ("loose", "SAY   IT\tTO ME", True),
        ("loose", "say it to you", False),
        ("cached", "SAY IT TO ME", False),
        ("cached", "\r\nsay it to me ", True),
        ("literal", "say it to me ", False),
        ("literal", "say it to me", True),
    ],
)
def test_prompts_are_compared_as_the_model_says(
    gateway: Gateway, upstream: Upstream, model: str, variant: str, same: bool
) -> None:
    namespace = {"x-headgate-cache-namespace": f"level-{model}-{abs(hash(variant))}"}
    keep(gateway, {"model": model, "prompt": "say it to me"}, headers=namespace)
    assert known(gateway, {"model": model, "prompt": variant}, headers=namespace) is same


def test_an_echoed_prompt_is_the_callers_own(gateway: Gateway, upstream: Upstream) -> None:
    prompt = unseen()
    warm(gateway, prompt, echo=True)
    reply = ask(gateway, f" {prompt}", echo=True)
    assert how(reply) == "miss"
    assert reply.texts[0].startswith(f" {prompt}")


# Sampled requests.


@pytest.mark.parametrize("fields", [{}, {"temperature": 0.7}, {"temperature": 1, "seed": None}])
def test_sampled_requests_bypass_where_the_model_says_so(
    gateway: Gateway, upstream: Upstream, prompt: str, fields: dict[str, Any]
) -> None:
    replies = [ask(gateway, prompt, model="bypassed", **fields) for _ in range(2)]
    assert [how(reply) for reply in replies] == ["bypass", "bypass"]
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    "fields", [{"temperature": 0}, {"temperature": 0.0}, {"seed": 1}, {"temperature": 1, "seed": 0}]
)
def test_what_is_not_sampled_is_kept_there(
    gateway: Gateway, upstream: Upstream, prompt: str, fields: dict[str, Any]
) -> None:
    ask(gateway, prompt, model="bypassed", **fields)
    wait_kept(gateway, prompt, model="bypassed", **fields)
    assert how(ask(gateway, prompt, model="bypassed", **fields)) == "hit"


@pytest.mark.parametrize("name", ["", "with space", "a" * 65, "a/b", "caf\u00e9", "a\tb"])
def test_a_wrong_namespace_is_refused_by_name(
    gateway: Gateway, upstream: Upstream, prompt: str, name: str
) -> None:
    reply = ask(gateway, prompt, headers={"x-headgate-cache-namespace": name.encode()})
    assert reply.status == 400
    assert reply.error["param"] == "x-headgate-cache-namespace"
    assert reply.error["details"][0]["param"] == "x-headgate-cache-namespace"
    assert upstream.requests == []
