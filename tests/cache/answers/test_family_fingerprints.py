"""The fingerprints of chat and embeddings: the documented form, and what changes it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.openai.chat.request import parse as parse_chat
from app.openai.embeddings.request import parse as parse_embeddings
from cache.answers.chat_fingerprint import ChatFingerprinter
from cache.answers.embeddings_fingerprint import EmbeddingsFingerprinter
from cache.answers.fingerprint_form import Scope

DOCUMENT = (Path(__file__).parents[3] / "docs" / "fingerprint.md").read_text()
PLACE: dict[str, Any] = {
    "scope": Scope("tenant", "acme", ""),
    "namespace": "",
    "alias": "m",
    "targets": [["openai", "gpt-4o-mini"]],
    "normalize": "loose",
}
CHAT = ChatFingerprinter(family="chat", **PLACE)
EMBEDDINGS = EmbeddingsFingerprinter(family="embeddings", **PLACE)
USER = {"role": "user", "content": "Say hi"}


def chat(**members: Any) -> bytes:
    [digest] = CHAT.of(parse_chat(orjson.dumps({"model": "m", "messages": [USER]} | members)))
    return digest


def embed(given: Any, **members: Any) -> list[bytes]:
    body = {"model": "m", "input": given} | members
    return [*EMBEDDINGS.of(parse_embeddings(orjson.dumps(body)))]


def test_the_documented_examples_are_what_is_hashed() -> None:
    section = DOCUMENT.partition("### Example: a conversation and an input")[2]
    bodies = re.findall(r"```json\n(.*?)\n```", section, re.DOTALL)[:2]
    forms = re.findall(r"```text\n(.*?)\n```", section, re.DOTALL)[:2]
    asked = parse_chat(bodies[0].encode()), parse_embeddings(bodies[1].encode())
    for maker, request, form in zip((CHAT, EMBEDDINGS), asked, forms, strict=True):
        assert maker.forms(request) == [form.encode()]
        assert maker.of(request) == [hashlib.blake2b(form.encode(), digest_size=32).digest()]


SAME: list[dict[str, Any]] = [
    {"stream": True},
    {"stream": True, "stream_options": {"include_usage": True}},
    {"user": "u"},
    {"metadata": {"a": "b"}},
    {"store": True},
    {"safety_identifier": "s"},
    {"prompt_cache_key": "k"},
    {"temperature": 1.0},
    {"top_p": 1},
    {"n": 1},
    {"stop": None},
    {"logprobs": False},
    {"frequency_penalty": 0.0},
    {"logit_bias": {}},
    {"seed": None},
    {"tools": []},
]


@pytest.mark.parametrize("members", SAME, ids=lambda members: next(iter(members)))
def test_what_changes_no_answer_does_not_count(members: dict[str, Any]) -> None:
    assert chat(**members) == chat()


TOOL = {"type": "function", "function": {"name": "f"}}
OTHERS: list[dict[str, Any]] = [
    {"messages": [USER, USER]},
    {"messages": [USER | {"role": "system"}]},
    {"messages": [USER | {"name": "n"}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "Say hi"}]}]},
    {"messages": [USER | {"content": " Say hi"}]},
    {"messages": [USER | {"content": "say hi"}]},
    {"max_tokens": 5},
    {"max_tokens": 6},
    {"temperature": 0},
    {"seed": 1},
    {"stop": "a"},
    {"logprobs": True},
    {"logprobs": True, "top_logprobs": 1},
    {"tools": [TOOL]},
    {"tools": [TOOL], "tool_choice": "none"},
    {"response_format": {"type": "json_object"}},
    {"modalities": ["text"]},
    {"reasoning_effort": "low"},
    {"service_tier": "flex"},
    {"min_p": 0.5},
]


def test_what_may_change_an_answer_counts() -> None:
    digests = [chat(), *(chat(**members) for members in OTHERS)]
    assert len(set(digests)) == len(digests)


def test_a_limit_is_one_under_either_name() -> None:
    assert chat(max_tokens=5) == chat(max_completion_tokens=5) == chat(max_completion_tokens=5.0)
    assert chat(stop="a") == chat(stop=["a"])


def test_a_chat_is_compared_by_meaning_within_all_the_rest() -> None:
    def part(*messages: dict[str, Any], **members: Any) -> bytes:
        body = {"model": "m", "messages": messages} | members
        return CHAT.partition(parse_chat(orjson.dumps(body)), "v1")

    system = {"role": "system", "content": "a"}
    assert part(system, USER) == part(system, USER | {"content": "anything"})
    assert part(system, USER) != part(USER)
    assert part(system, USER) != part(system | {"content": "b"}, USER)
    assert part(USER) != part(USER, max_tokens=5)


def test_each_input_has_the_fingerprint_that_it_would_have_alone() -> None:
    assert embed(["a", "b"]) == embed("a") + embed("b")
    assert embed([[1, 2], [3]]) == embed([1, 2]) + embed([3])
    assert embed("a", encoding_format="base64", user="u") == embed(["a"], encoding_format="float")


def test_what_moves_a_vector_counts() -> None:
    one = {"dimensions": 5}, {"input_type": "query"}
    digests = [*embed(["a", " a", "A"]), *embed([[1]]), *(embed("a", **m)[0] for m in one)]
    assert len(set(digests)) == len(digests)
