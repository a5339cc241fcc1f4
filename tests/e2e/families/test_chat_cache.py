"""Chat in the cache: one entry a conversation, in both shapes; what must be met exactly, and what
is never kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.families.asking import (
    ONLY_CACHED,
    TOOL,
    USAGE,
    chat,
    content,
    how,
    kept,
    message,
    saying,
)
from tests.e2e.families.test_chat import CALL_PIECES, CALLS
from tests.harness.configuration import TOKEN
from tests.harness.exchange import Request, Wire
from tests.harness.gateway import Gateway
from tests.harness.prompts import unseen
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

# Chat's keys, entries and money over the embedded store and a real Redis.
pytestmark = pytest.mark.parametrize(
    "store_url", ["memory", "redis8"], indirect=True, scope="session"
)

FIRST = pytest.mark.parametrize("first", [False, True], ids=["plain-first", "stream-first"])
THEN = pytest.mark.parametrize("then", [False, True], ids=["plain-then", "stream-then"])
CACHED: dict[str, Any] = {"model": "cached"}
SAMPLED = pytest.mark.parametrize("fields", [{}, {"temperature": 0}], ids=["alone", "shared"])


@SAMPLED
@FIRST
@THEN
def test_plain_and_streamed_share_an_entry(
    gateway: Gateway, upstream: Upstream, fields: dict[str, Any], first: bool, then: bool
) -> None:
    prompt = unseen()
    said = {"reasoning_content": "hm", "content": "yes"}
    upstream.on("up", saying({"role": "assistant"}, *[{k: v} for k, v in said.items()], **said))
    asked = chat(gateway, prompt, **CACHED, **fields, stream=first)
    assert how(asked) == "miss"
    kept(gateway, prompt, **CACHED, **fields)
    again = chat(gateway, prompt, **CACHED, **fields, stream=then)
    assert (how(again), again.headers["x-headgate-cost-usd"]) == ("hit", "0")
    for reply in (asked, again):
        found = message(reply)
        assert {name: found[name] for name in said} == said
    assert len(upstream.requests) == 1
    line = gateway.line(again.headers["x-request-id"])
    assert line["saved_usd"] == f"{USAGE['total_tokens'] * TOKEN / 1e9:g}"


@FIRST
@THEN
def test_tool_calls_are_kept_whole(
    gateway: Gateway, upstream: Upstream, first: bool, then: bool
) -> None:
    prompt = unseen()
    upstream.on("up", saying(*CALL_PIECES, reason="tool_calls", tool_calls=CALLS))
    chat(gateway, prompt, **CACHED, tools=[TOOL], stream=first)
    kept(gateway, prompt, **CACHED, tools=[TOOL])
    again = chat(gateway, prompt, **CACHED, tools=[TOOL], stream=then)
    assert how(again) == "hit"
    assert message(again)["tool_calls"] == CALLS
    last = again.chunks[-1]["choices"][0] if then else again.document["choices"][0]
    assert last["finish_reason"] == "tool_calls"


def test_a_hit_tells_the_original_usage(gateway: Gateway, upstream: Upstream) -> None:
    prompt = unseen()
    upstream.on("up", saying({"role": "assistant", "content": "a"}, content="a"))
    chat(gateway, prompt, **CACHED)
    kept(gateway, prompt, **CACHED)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    assert chat(gateway, prompt, **CACHED, **options).chunks[-1]["usage"] == USAGE


OTHERS: list[dict[str, Any]] = [
    {"tools": [TOOL]},
    {"response_format": {"type": "json_object"}},
    {"reasoning_effort": "low"},
    {"max_tokens": 5},
    {"top_p": 0.5},
    {"min_p": 0.5},
]


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: next(iter(other)))
def test_another_request_is_another_entry(
    gateway: Gateway, upstream: Upstream, other: dict[str, Any]
) -> None:
    prompt = unseen()
    chat(gateway, prompt, **CACHED)
    kept(gateway, prompt, **CACHED)
    assert chat(gateway, prompt, headers=ONLY_CACHED, **CACHED, **other).status == 504


def test_what_changes_no_answer_is_the_same_entry(gateway: Gateway, upstream: Upstream) -> None:
    prompt = unseen()
    chat(gateway, prompt, **CACHED, max_tokens=5)
    same: dict[str, Any] = {
        "max_completion_tokens": 5,
        "user": "u",
        "metadata": {"a": "b"},
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "temperature": 1.0,
        "stop": [],
        "n": 1,
        "logprobs": False,
    }
    kept(gateway, prompt, **CACHED, **same)


def test_the_whole_conversation_counts(gateway: Gateway, upstream: Upstream) -> None:
    prompt = unseen()
    long = [{"role": "system", "content": "a"}, {"role": "user", "content": prompt}]
    chat(gateway, long, **CACHED)
    kept(gateway, long, **CACHED)
    other = [{"role": "system", "content": "b"}, long[1]]
    for messages in (other, [long[1]], [long[1], long[0]]):
        assert chat(gateway, messages, headers=ONLY_CACHED, **CACHED).status == 504


def test_completions_and_chat_never_meet(gateway: Gateway, upstream: Upstream) -> None:
    prompt = unseen()
    messages = [{"role": "user", "content": prompt}]
    chat(gateway, prompt, **CACHED)
    kept(gateway, prompt, **CACHED)
    body = {"model": "cached", "messages": messages}
    assert gateway.send(body, headers=ONLY_CACHED).status == 504


def image(url: str, prompt: str) -> list[dict[str, Any]]:
    picture = {"type": "image_url", "image_url": {"url": url}}
    return [{"type": "text", "text": prompt}, picture]


def test_a_picture_by_address_is_never_kept(gateway: Gateway, upstream: Upstream) -> None:
    said = image("https://pictures.example/1.png", unseen())
    for _ in range(2):
        assert how(chat(gateway, said, **CACHED)) == "bypass"
    assert len(upstream.requests) == 2


def test_a_picture_in_the_request_is_part_of_the_key(gateway: Gateway, upstream: Upstream) -> None:
    prompt = unseen()
    said = image("data:image/png;base64,AAAA", prompt)
    assert how(chat(gateway, said, **CACHED)) == "miss"
    kept(gateway, said, **CACHED)
    other = image("data:image/png;base64,AAAB", prompt)
    assert chat(gateway, other, headers=ONLY_CACHED, **CACHED).status == 504


@pytest.mark.parametrize("reason", ["content_filter", "abort"])
def test_what_was_broken_off_is_not_kept(gateway: Gateway, upstream: Upstream, reason: str) -> None:
    prompt, other = unseen(), unseen()
    upstream.on("up", saying(content="a", reason=reason))
    chat(gateway, prompt, **CACHED)
    upstream.on("up", saying(content="a"))
    chat(gateway, other, **CACHED)
    kept(gateway, other, **CACHED)
    assert chat(gateway, prompt, headers=ONLY_CACHED, **CACHED).status == 504


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_all_who_ask_the_same_make_one_call(
    gateway: Gateway, upstream: Upstream, stream: bool
) -> None:
    prompt = unseen()
    gate = upstream.gate()

    async def held(request: Request, wire: Wire) -> None:
        await gate.wait()
        await saying(*CALL_PIECES, reason="tool_calls", tool_calls=CALLS)(request, wire)

    upstream.on("up", held)
    fields = {"model": "shared", "tools": [TOOL], "stream": stream}
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(chat, gateway, prompt, **fields) for _ in range(4)]
        upstream.wait_for(1)
        # Whoever comes late finds the entry: also one call, so that no wait is needed here.
        gate.open()
        replies = [one.result() for one in asked]
    assert [message(reply)["tool_calls"] for reply in replies] == [CALLS] * 4
    assert len(upstream.requests) == 1
    assert [how(reply) for reply in replies].count("miss") == 1


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_an_old_answer_is_better_than_an_error(
    gateway: Gateway, upstream: Upstream, stream: bool
) -> None:
    prompt = unseen()
    backed = {"model": "backed", "temperature": 0}
    upstream.on("up", saying(content="old"))
    chat(gateway, prompt, **backed)
    kept(gateway, prompt, **backed)
    eventually(lambda: chat(gateway, prompt, headers=ONLY_CACHED, **backed).status, 504)

    async def broken(request: Request, wire: Wire) -> None:
        await wire.answer({"error": {"message": "no"}}, 500)

    upstream.on("up", broken)
    reply = chat(gateway, prompt, **backed, stream=stream)
    assert (how(reply), content(reply)) == ("stale", "old")


MEANT: dict[str, Any] = {"model": "meant", "temperature": 0}


def asked_as(text: str, system: str = "be brief") -> list[dict[str, Any]]:
    return [{"role": "system", "content": system}, {"role": "user", "content": text}]


def test_what_the_user_says_last_is_compared_by_meaning(
    gateway: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    first, same = "What is the capital of France?", "what's the capital of france"
    chat(gateway, asked_as(first), headers=space, **MEANT)
    only = space | ONLY_CACHED

    def again() -> Any:
        return chat(gateway, asked_as(same), headers=only, **MEANT)

    eventually(lambda: again().status, 200)
    assert again().headers["x-headgate-cache-layer"] == "semantic"
    other = chat(gateway, asked_as(same, "be verbose"), headers=only, **MEANT)
    assert other.status == 504
    assert chat(gateway, asked_as(same), headers=only, **MEANT, tools=[TOOL]).status == 504


def test_answers_with_tools_are_met_exactly(
    gateway: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    upstream.on("up", saying(reason="tool_calls", tool_calls=CALLS))
    fields = MEANT | {"tools": [TOOL]}
    chat(gateway, asked_as("What is the weather in Graz?"), headers=space, **fields)
    only = space | ONLY_CACHED
    said = asked_as("What is the weather in Graz?")
    eventually(lambda: chat(gateway, said, headers=only, **fields).status, 200)
    near = asked_as("what is the weather in graz")
    assert chat(gateway, near, headers=only, **fields).status == 504
