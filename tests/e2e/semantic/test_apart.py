"""Never an answer across any difference, in either tier: the one promise that must not break."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cache.semantic.pairs.test_pairs import DIFFER, SAME
from tests.e2e.semantic.asking import (
    PARAPHRASE,
    QUESTION,
    STRESSED,
    ask,
    barrier,
    keep,
    message,
    only,
    served,
    teach,
)
from tests.e2e.semantic.configuration import ANY_STORE, BOTH_TIERS
from tests.harness.credentials import COLLEAGUE, KEY, STRANGER
from tests.harness.gateway import Gateway
from tests.harness.good_server import text_of
from tests.harness.prompts import PRIVATE
from tests.harness.upstream import Upstream


def nothing(gateway: Gateway, headers: dict[str, str], key: str = KEY, **fields: Any) -> None:
    """No wording gets an answer here, whichever tier could have found it."""
    for prompt in (PARAPHRASE, STRESSED):
        assert served(only(gateway, prompt, headers, key, **fields)) is None


# Whose it is. The encoder of `same` finds everything near everything.


@pytest.mark.parametrize("alias", ["tier1", "same"])
def test_a_tenant_has_its_meanings_to_itself(
    gateway: Gateway, space: dict[str, str], alias: str
) -> None:
    teach(gateway, space, model=alias)
    nothing(gateway, space, STRANGER, model=alias)
    assert served(only(gateway, PARAPHRASE, space, COLLEAGUE, model=alias)) == "tier 1"
    reply = ask(gateway, PARAPHRASE, space, STRANGER, model=alias)
    assert (served(reply), reply.texts) == (None, [text_of(PARAPHRASE)])


def test_a_key_has_its_meanings_to_itself_where_the_model_says_so(
    gateway: Gateway, space: dict[str, str]
) -> None:
    teach(gateway, space, model="by-key")
    nothing(gateway, space, COLLEAGUE, model="by-key")
    nothing(gateway, space, STRANGER, model="by-key")


@pytest.mark.parametrize("alias", ["everybody", "same-everybody"])
def test_everybody_shares_meanings_where_the_model_says_so(
    gateway: Gateway, space: dict[str, str], alias: str
) -> None:
    teach(gateway, space, model=alias)
    assert served(only(gateway, PARAPHRASE, space, STRANGER, model=alias)) == "tier 1"


@pytest.mark.parametrize("alias", ["tier1", "same"])
def test_a_namespace_has_its_meanings_to_itself(
    gateway: Gateway, space: dict[str, str], alias: str
) -> None:
    teach(gateway, space, model=alias)
    nothing(gateway, {}, model=alias)
    nothing(gateway, {"x-headgate-cache-namespace": "another"}, model=alias)


def test_an_alias_has_its_meanings_to_itself(gateway: Gateway, space: dict[str, str]) -> None:
    teach(gateway, space)
    nothing(gateway, space, model="twin")
    nothing(gateway, space, model="same")


# What else is fixed. Each pair both ways.

TALK = [message("Be brief.", "system"), message("Hello there"), message("Hello.", "assistant")]


def said(*before: dict[str, Any]) -> dict[str, Any]:
    return {"model": "same-chat", "before": list(before)}


FIXED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "temperature": ({"temperature": 0, "seed": 5}, {"temperature": 0.1, "seed": 5}),
    "seed": ({"seed": 1}, {"seed": 2}),
    "no seed": ({}, {"seed": 2}),
    "big seeds": ({"seed": 9007199254740993}, {"seed": 9007199254740992}),
    "max_tokens": ({"max_tokens": 15}, {"max_tokens": 16}),
    "max_completion_tokens": ({}, {"max_completion_tokens": 16}),
    "stop": ({"stop": "a"}, {"stop": "b"}),
    "no stop": ({}, {"stop": ["\n"]}),
    "top_p": ({"top_p": 0.9}, {"top_p": 0.90001}),
    "min_p": ({"min_p": 0.1}, {"min_p": 0.2}),
    "no min_p": ({}, {"min_p": 0.1}),
    "top_k": ({"top_k": 1}, {"top_k": 2}),
    "guided_json": ({"guided_json": {"type": "object"}}, {"guided_json": {"type": "array"}}),
    "null deep inside": ({"guided_json": {"a": None}}, {"guided_json": {}}),
    "list order": ({"guided_choice": ["a", "b"]}, {"guided_choice": ["b", "a"]}),
    "logit_bias": ({"logit_bias": {"5": 1}}, {"logit_bias": {"5": 2}}),
    "no logit_bias": ({}, {"logit_bias": {"5": 100}}),
    "presence_penalty": ({"presence_penalty": 0.5}, {"frequency_penalty": 0.5}),
    "response_format": ({}, {"response_format": {"type": "json_object"}}),
    "system prompt": (
        said(message("Be brief.", "system")),
        said(message("Be brief!", "system")),
    ),
    "no system prompt": (said(), said(message("Be brief.", "system"))),
    "role of the system": (
        said(message("Be brief.", "system")),
        said(message("Be brief.", "developer")),
    ),
    "history": (said(*TALK), said(*TALK[:2], message("Hi.", "assistant"))),
    "length of history": (said(*TALK), said(TALK[0])),
    "order of history": (said(*TALK), said(TALK[1], TALK[0], TALK[2])),
    "a name in history": (said(*TALK), said(TALK[0], TALK[1] | {"name": "Ann"}, TALK[2])),
    "prompt and messages": ({"model": "same-chat"}, said()),
}


def body(prompt: str, fields: dict[str, Any]) -> dict[str, Any]:
    if "before" not in fields:
        return {"model": "same", "prompt": prompt, "temperature": 0} | fields
    messages = [*fields["before"], message(prompt)]
    return {"model": fields["model"], "messages": messages, "temperature": 0}


@ANY_STORE
@pytest.mark.parametrize("case", FIXED)
@pytest.mark.parametrize("swapped", [False, True], ids=["", "swapped"])
def test_everything_but_the_one_text_must_be_equal(
    gateway: Gateway, space: dict[str, str], case: str, swapped: bool
) -> None:
    mine, other = FIXED[case][::-1] if swapped else FIXED[case]
    ask(gateway, **_told(QUESTION, mine, space))
    barrier(gateway)
    assert served(only(gateway, **_told(PARAPHRASE, mine, space))) == "tier 1"
    for prompt in (QUESTION, PARAPHRASE, STRESSED):
        assert served(only(gateway, **_told(prompt, other, space))) is None


def _told(prompt: str, fields: dict[str, Any], space: dict[str, str]) -> dict[str, Any]:
    return {"prompt": None, "headers": space} | body(prompt, fields)


# What may be answered by nothing but itself.

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def chat(last: Any, *before: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "same-chat", "prompt": None, "messages": [*before, last], **fields}


def plain(text: str) -> str:
    """The same text as a person could have asked it again."""
    return text.lower().rstrip("?.\uff1f")


EXACT_ONLY: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    name: (fields | {"prompt": QUESTION}, fields | {"prompt": PARAPHRASE})
    for name, fields in {
        "n": {"n": 2},
        "best_of": {"best_of": 2},
        "logprobs": {"logprobs": 1},
        "logprobs of none": {"logprobs": 0},
        "prompt_logprobs": {"prompt_logprobs": 1},
        "return_token_ids": {"return_token_ids": True},
        "echo": {"echo": True},
        "suffix": {"suffix": " and then"},
        "sampled": {"temperature": 0.5},
        "sampled by default": {"temperature": None},
    }.items()
}
EXACT_ONLY |= {
    name: (chat(message(QUESTION), **fields), chat(message(PARAPHRASE), **fields))
    for name, fields in {
        "tool_choice": {"tool_choice": "none"},
        "n of messages": {"n": 2},
    }.items()
}
EXACT_ONLY |= {
    name: (chat(first), chat(second))
    for name, first, second in [
        (
            "image",
            message([{"type": "text", "text": QUESTION}, PICTURE]),
            message([{"type": "text", "text": PARAPHRASE}, PICTURE]),
        ),
        (
            "two texts",
            message([{"type": "text", "text": "Hello"}, {"type": "text", "text": QUESTION}]),
            message([{"type": "text", "text": "Hello"}, {"type": "text", "text": PARAPHRASE}]),
        ),
        ("a named user", message(QUESTION) | {"name": "A"}, message(PARAPHRASE) | {"name": "A"}),
        ("an assistant last", message(QUESTION, "assistant"), message(PARAPHRASE, "assistant")),
        ("a system last", message(QUESTION, "system"), message(PARAPHRASE, "system")),
    ]
}
EXACT_ONLY |= {
    "image before": (
        chat(message(QUESTION), message([PICTURE])),
        chat(message(PARAPHRASE), message([PICTURE])),
    ),
    "batch": ({"prompt": [QUESTION, "x"]}, {"prompt": [PARAPHRASE, "x"]}),
    "token ids": ({"prompt": [1, 2, 3]}, {"prompt": [1, 2, 4]}),
}
EXACT_ONLY |= {
    name: ({"prompt": text}, {"prompt": plain(text)})
    for name, text in {
        "code": f"How do I call feed_{PRIVATE}(bowl) twice?",
        "shell": f"Why does cat /etc/{PRIVATE} fail here?",
        "today": f"What does the {PRIVATE} eat today?",
        "latest": f"What is the latest film about a {PRIVATE}?",
        "price": f"What is the price of a {PRIVATE}?",
        "weather": f"How does a {PRIVATE} like the weather in Hobart?",
        "few words": f"A {PRIVATE}?",
        "long": " ".join([f"How does a {PRIVATE} cook soft rice?"] * 20),
        "Cyrillic": f"Как правильно кормить вомбата зимой дома {PRIVATE}?",
        "Chinese": "冬天应该怎么喂养袋熊呢\uff1f",
        "German": f"Wie kann ich einen {PRIVATE} im Winter mit Gras und Heu füttern?",
    }.items()
}


@BOTH_TIERS
@pytest.mark.parametrize("case", EXACT_ONLY)
def test_what_is_not_eligible_is_met_exactly_or_not_at_all(
    gateway: Gateway, upstream: Upstream, space: dict[str, str], case: str
) -> None:
    first, again = EXACT_ONLY[case]
    base = {"model": "same", "temperature": 0}
    question, other = ({"headers": space} | base | fields for fields in (first, again))
    keep(gateway, **question)
    barrier(gateway)
    assert served(only(gateway, **other)) is None
    assert served(ask(gateway, **other)) is None


def test_one_text_in_a_batch_is_not_answered_by_meaning(
    gateway: Gateway, space: dict[str, str]
) -> None:
    teach(gateway, space, model="same")
    reply = ask(gateway, [PARAPHRASE, STRESSED], space, model="same")
    assert reply.texts == [text_of(PARAPHRASE), text_of(STRESSED)]
    assert reply.headers["x-headgate-cache"] == "miss"
    # Nor does a batch teach anything.
    other = {"x-headgate-cache-namespace": space["x-headgate-cache-namespace"] + ".b"}
    keep(gateway, [QUESTION, "x"], other, model="same")
    barrier(gateway)
    assert served(only(gateway, PARAPHRASE, other, model="same")) is None


def test_sampled_requests_are_answered_by_meaning_where_the_model_says_so(
    gateway: Gateway, space: dict[str, str]
) -> None:
    for fields in ({"temperature": 0.5}, {"temperature": None}):
        teach(gateway, space, model="sampled", **fields)
        reply = only(gateway, PARAPHRASE, space, model="sampled", **fields)
        assert served(reply) == "tier 1"
    assert served(only(gateway, PARAPHRASE, space, model="sampled")) is None


def test_a_seed_makes_a_sampled_request_eligible(gateway: Gateway, space: dict[str, str]) -> None:
    teach(gateway, space, temperature=0.7, seed=3)
    assert served(only(gateway, PARAPHRASE, space, temperature=0.7, seed=3)) == "tier 1"


def test_a_model_that_is_switched_off_answers_exactly(
    gateway: Gateway, space: dict[str, str]
) -> None:
    keep(gateway, QUESTION, space, model="off")
    barrier(gateway)
    assert served(only(gateway, PARAPHRASE, space, model="off")) is None


# Where every text is as near as can be, only the guard is left.


@BOTH_TIERS
@pytest.mark.parametrize("pair", DIFFER[::20], ids=lambda pair: f"{pair[0]}-{pair[1][:40]}")
def test_the_guard_alone_keeps_apart_what_differs(
    gateway: Gateway, space: dict[str, str], pair: tuple[str, str, str]
) -> None:
    _, first, second = pair
    keep(gateway, first, space, model="same")
    reply = ask(gateway, second, space, model="same")
    assert (served(reply), reply.texts) == (None, [text_of(second)])


@pytest.mark.parametrize("kind", ["punctuation", "contraction", "politeness", "plural"])
def test_what_means_the_same_is_answered(
    gateway: Gateway, space: dict[str, str], kind: str
) -> None:
    hits = 0
    pairs = [(a, b) for which, a, b in SAME if which == kind][:10]
    for a, _ in pairs:
        keep(gateway, a, space)
    barrier(gateway)
    for a, b in pairs:
        reply = only(gateway, b, space)
        if served(reply) == "tier 1":
            hits += 1
            assert reply.texts == [text_of(a)]
    assert hits >= 8
