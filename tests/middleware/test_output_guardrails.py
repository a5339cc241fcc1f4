"""Guardrails of the output: the holes that the field has, each closed for both endpoints.

GH numbers beside the tests are the public issues where others met the hole.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.harness.guarded import (
    BLOCK,
    EMAIL,
    FAMILIES,
    LONG,
    REDACT,
    SECRET,
    Guarded,
    Speaking,
    ask,
    both,
    error_of,
    events,
    is_blocked,
    said,
    said_so_far,
    shapes,
)


@both
@shapes
def test_a_secret_in_the_answer_is_never_sent(family: str, stream: bool) -> None:  # AISIX #204
    chain = Guarded(Speaking(f"so the key is {SECRET} as you see"), **BLOCK)
    door = ask(chain, family, stream=stream)
    assert (door.status, error_of(door)["code"]) == (400, "guardrail_blocked")
    assert "output" in error_of(door)["message"]


@both
@pytest.mark.parametrize("step", [1, 3, 7, 64, 4096])
def test_a_stream_is_ended_before_the_secret_leaves(family: str, step: int) -> None:  # AISIX #466
    chain = Guarded(Speaking(f"{LONG} the key is {SECRET} and more {LONG}", step), **BLOCK)
    door = ask(chain, family, stream=True)
    body = door.body.decode()
    assert "[DONE]" not in body
    if step < 4096:
        assert door.status == 200
        *chunks, last = events(door)
        assert chunks
        assert last["error"]["code"] == "guardrail_blocked"
        # Nothing of it: not even its first letters.
        assert LONG.startswith(said_text(door)[: len(LONG)])
    assert SECRET[:5] not in said_text(door) if step < 4096 else door.status == 400


def said_text(door: Any) -> str:
    return "".join(
        one["choices"][0].get("text") or one["choices"][0].get("delta", {}).get("content") or ""
        for one in events(door)
        if "choices" in one
    )


def test_the_upstream_is_left_when_its_answer_is_blocked() -> None:
    speaking = Speaking(f"the key is {SECRET} " + LONG, 5)
    chain = Guarded(speaking, cached=False, **BLOCK)
    ask(chain, stream=True)
    assert speaking.sent < len(speaking.text) / 5


@both
@pytest.mark.parametrize("step", [1, 2, 5, 11, 500])
def test_a_stream_delivers_what_the_plain_answer_has(family: str, step: int) -> None:
    text = f"Mail {EMAIL} or call +49 30 1234567; {LONG} and card 4111 1111 1111 1111."
    plain = ask(Guarded(Speaking(text), **REDACT), family)
    streamed = ask(Guarded(Speaking(text, step), **REDACT), family, stream=True)
    assert said(streamed) == said(plain)
    assert "[EMAIL]" in plain.body.decode()
    assert streamed.body.endswith(b"data: [DONE]\n\n")


@both
def test_ordinary_text_is_hardly_held_back(family: str) -> None:  # LiteLLM #31503
    text = "The committee met on a grey morning and talked about the bridge for hours. "
    chain = Guarded(Speaking(text, 5), cached=False, **BLOCK, **REDACT)
    door = ask(chain, family, stream=True)
    first = said_text_of(events(door)[:3])
    assert first
    assert said(door)["0.text" if family == "completions" else "0.content"] == text


def said_text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(
        one["choices"][0].get("text") or one["choices"][0].get("delta", {}).get("content") or ""
        for one in chunks
    )


def tool_call(arguments: str) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": arguments}}


@shapes
@pytest.mark.parametrize(
    "arguments",
    [
        orjson.dumps({"key": SECRET}).decode(),
        '{"key": "' + "".join(f"\\u{ord(one):04x}" for one in SECRET) + '"}',
        '{"key": "' + SECRET[:6] + f"\\u{ord(SECRET[6]):04x}" + SECRET[7:] + '"}',
    ],
    ids=["plain", "escaped", "one escape"],
)
def test_tool_arguments_are_read_decoded(arguments: str, stream: bool) -> None:  # AISIX #490
    chain = Guarded(Speaking("", 1, tool_calls=[tool_call(arguments)]), **BLOCK)
    door = ask(chain, "chat", stream=stream)
    assert is_blocked(door)
    if stream:
        assert said_so_far(door).get("0.tool_calls.0.function.arguments", "") in '{"key": "'


@shapes
def test_redacted_tool_arguments_are_still_json(stream: bool) -> None:
    arguments = orjson.dumps({"to": f'"{EMAIL}"\n', "n": 1}).decode().replace("@", "\\u0040")
    chain = Guarded(Speaking("", 1, tool_calls=[tool_call(arguments)]), **REDACT)
    texts = said(ask(chain, "chat", stream=stream))
    assert orjson.loads(texts["0.tool_calls.0.function.arguments"]) == {"to": '"[EMAIL]"\n', "n": 1}
    assert texts["0.tool_calls.0.function.name"] == "f"


@shapes
@pytest.mark.parametrize("member", ["refusal", "reasoning_content", "reasoning", "whatever_new"])
def test_every_text_of_a_choice_is_read(member: str, stream: bool) -> None:
    chain = Guarded(Speaking("ok", 2, **{member: f"psst {SECRET} psst"}), **BLOCK)
    assert ask(chain, "chat", stream=stream).status in (200, 400)
    door = ask(
        Guarded(Speaking("ok", 2, **{member: f"mail {EMAIL} x"}), **REDACT), "chat", stream=stream
    )
    assert EMAIL not in door.body.decode()
    assert said(door)[f"0.{member}"] == "mail [EMAIL] x"
    blocked = ask(Guarded(Speaking("", 2, **{member: SECRET}), **BLOCK), "chat", stream=stream)
    assert blocked.status == 400


@both
@shapes
def test_every_choice_is_read(family: str, stream: bool) -> None:
    chain = Guarded(Speaking(f"mail {EMAIL}"), **REDACT)
    texts = said(ask(chain, family, stream=stream, n=3))
    assert len(texts) == 3
    assert set(texts.values()) == {"mail [EMAIL]"}


def test_an_echoed_prompt_is_read_as_the_answer_that_it_is() -> None:
    rule = {"pii": {"kind": "pii", "mode": "redact", "phases": ["output"]}}
    chain = Guarded(Speaking(f"write to {EMAIL} yes"), **rule)
    assert said(ask(chain, prompt=f"write to {EMAIL}", echo=True)) == {
        "0.text": "write to [EMAIL] yes"
    }


def test_a_redacted_choice_loses_what_would_tell_it_again() -> None:
    tokens = ["mail ", "bob.smith", "@example", ".com"]
    told = {
        "tokens": tokens,
        "token_logprobs": [-1.0] * 4,
        "top_logprobs": None,
        "text_offset": [0, 5, 14, 22],
    }
    chain = Guarded(Speaking(f"mail {EMAIL}", logprobs=told), **REDACT)
    choice = orjson.loads(ask(chain, logprobs=1).body)["choices"][0]
    assert (choice["text"], choice["logprobs"]) == ("mail [EMAIL]", None)
    clean = Guarded(
        Speaking("mail nobody", logprobs=told | {"tokens": ["mail ", "nobody"]}), **REDACT
    )
    assert orjson.loads(ask(clean, logprobs=1).body)["choices"][0]["logprobs"] is not None


def test_what_is_only_in_the_log_probabilities_does_not_leave_by_them() -> None:
    told = {"tokens": ["x"], "top_logprobs": [{"x": -1.0, SECRET: -3.0}]}
    chain = Guarded(Speaking("x", logprobs=told), **BLOCK)
    door = ask(chain, logprobs=1)
    assert door.status == 200
    assert SECRET not in door.body.decode()


def test_a_blocked_answer_is_paid_for() -> None:
    door = ask(Guarded(Speaking(SECRET), **BLOCK))
    assert door.exchange.outcome.usage is not None


@both
@shapes
@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ({"kind": "length", "max_characters": 20}, "short", "x" * 21),
        ({"kind": "length", "max_words": 3}, "one two three", "one two three four"),
        ({"kind": "length", "min_characters": 4}, "four", "for"),
        ({"kind": "regex", "allow": ["yes|no"]}, "yes", "maybe"),
        (
            {"kind": "json_schema", "schema": {"type": "object", "required": ["a"]}},
            '{"a": 1}',
            '{"b": 1}',
        ),
    ],
)
def test_rules_over_a_whole_answer(
    rule: dict[str, Any], good: str, bad: str, family: str, stream: bool
) -> None:
    out = {"out": rule | {"phases": ["output"]}}
    kept = ask(Guarded(Speaking(good), **out), family, stream=stream)
    assert (kept.status, set(said(kept).values())) == (200, {good})
    assert is_blocked(ask(Guarded(Speaking(bad), **out), family, stream=stream))


def test_an_answer_that_is_too_large_to_wait_fails_closed() -> None:
    rule = {"kind": "regex", "allow": [".*"], "phases": ["output"]}
    door = ask(Guarded(Speaking("x" * 5000), held=2000, out=rule), stream=True)
    assert (door.status, error_of(door)["code"]) == (503, "guardrail_unavailable")


def test_no_rules_change_nothing() -> None:
    chain = Guarded(Speaking(f"mail {EMAIL}"))
    assert EMAIL in ask(chain, prompt=SECRET).body.decode()
    assert FAMILIES["chat"].said_in is FAMILIES["completions"].said_in
