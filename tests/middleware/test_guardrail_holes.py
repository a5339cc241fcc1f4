"""The holes of the field, each closed for every form of a prompt, plain and streamed.

AISIX #204, #448, #465, #466, #490, #545, #1115; LiteLLM #24291, #30028, #31503, #35260, #41787;
langwatch #6157.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from app.guardrails.plan import GuardPlans
from app.guardrails.rule import Asked, RemoteFailure, Rule, Scope, Verdict
from middleware.input_guardrails import InputGuardrails
from tests.harness.guarded import (
    BLOCK,
    EMAIL,
    LONG,
    REDACT,
    SECRET,
    Guarded,
    Speaking,
    ask,
    error_of,
    is_blocked,
    said,
    said_so_far,
    shapes,
)


def part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def forms(text: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Every way in which a caller can say a text: the endpoint and the body."""
    user = {"role": "user", "content": text}
    called = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "f", "arguments": orjson.dumps({"k": text}).decode()},
    }
    tools = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "call_1", "content": "done"},
    ]
    result = [*tools[:2], {"role": "tool", "tool_call_id": "call_1", "content": text}]
    none = {"prompt": None}
    return {
        "prompt": ("completions", {"prompt": text}),
        "list": ("completions", {"prompt": ["a", text]}),
        "suffix": ("completions", {"prompt": "a", "suffix": text}),
        "conversation": ("completions", none | {"messages": [user]}),
        "conversation parts": (
            "completions",
            none | {"messages": [{"role": "user", "content": [part(text)]}]},
        ),
        "message": ("chat", {"messages": [user]}),
        "system": ("chat", {"messages": [{"role": "system", "content": text}, user]}),
        "parts": ("chat", {"messages": [{"role": "user", "content": [part("a"), part(text)]}]}),
        "tool arguments": ("chat", {"messages": tools}),
        "tool result": ("chat", {"messages": result}),
    }


every_form = pytest.mark.parametrize("form", forms(""))


@every_form
@shapes
def test_what_is_forbidden_goes_upstream_in_no_form(form: str, stream: bool) -> None:
    family, body = forms(f"my key is {SECRET}")[form]
    chain = Guarded(Speaking(), **BLOCK)
    door = ask(chain, family, stream=stream, **body)
    assert (door.status, error_of(door)["code"]) == (400, "guardrail_blocked")
    assert not chain.inner.calls


@every_form
@shapes
def test_what_is_cut_out_goes_upstream_in_no_form(form: str, stream: bool) -> None:
    family, body = forms(f"write to {EMAIL} now")[form]
    chain = Guarded(Speaking(), **REDACT)
    assert ask(chain, family, stream=stream, **body).status == 200
    [call] = chain.inner.calls
    sent = call.request.body_for("m")
    assert EMAIL.encode() not in sent
    assert b"[EMAIL]" in sent


@every_form
def test_no_stream_is_skipped_and_no_verdict_comes_after_the_end(form: str) -> None:
    """The forbidden part of a streamed answer never leaves, however the caller asked."""
    family, body = forms("hello")[form]
    chain = Guarded(Speaking(f"{LONG}it is {SECRET} all along", 4), **BLOCK)
    door = ask(chain, family, stream=True, **body)
    assert is_blocked(door)
    for text in said_so_far(door).values():
        assert SECRET[:4] not in text


@every_form
@shapes
def test_a_hit_is_read_too(form: str, stream: bool) -> None:
    family, body = forms("hello")[form]
    chain = Guarded(Speaking(f"write to {EMAIL}."), **REDACT)
    first = ask(chain, family, stream=stream, **body)
    again = ask(chain, family, stream=stream, **body)
    assert said(first) == said(again)
    assert set(said(again).values()) == {"write to [EMAIL]."}
    # Under stricter rules what is kept has not passed, so it is asked for again.
    chain.rules(pii={"kind": "pii", "mode": "block"})
    assert is_blocked(ask(chain, family, stream=stream, **body))


@every_form
@pytest.mark.parametrize("step", [1, 3, 8, 100])
def test_a_placeholder_is_whole_wherever_the_chunks_end(form: str, step: int) -> None:
    family, body = forms("hello")[form]
    text = f"Schöne Grüße: {EMAIL} ✓ 日本 {EMAIL}!"
    door = ask(Guarded(Speaking(text, step), **REDACT), family, stream=True, **body)
    assert set(said(door).values()) == {"Schöne Grüße: [EMAIL] ✓ 日本 [EMAIL]!"}


@every_form
@shapes
@pytest.mark.parametrize("phase", ["input", "output"])
def test_what_fails_closed_does(form: str, stream: bool, phase: Any) -> None:
    async def broken(asked: Asked, texts: Sequence[str]) -> Verdict:
        raise RemoteFailure("timeout")

    family, body = forms("hello")[form]
    chain = Guarded(Speaking())
    rule = Rule("judge", "webhook", "block", (phase,), Scope(), b"j", remote=broken)
    chain.handler = InputGuardrails(
        chain.output,
        plans=GuardPlans([rule]),
        counts=chain.counted,
        background=chain.background,
        detokenizer_of=lambda _: None,
    )
    door = ask(chain, family, stream=stream, **body)
    assert (door.status, error_of(door)["code"]) == (503, "guardrail_unavailable")
    assert bool(chain.inner.calls) == (phase == "output")


@every_form
def test_a_rule_for_the_output_refuses_no_input(form: str) -> None:
    family, body = forms(f"my key is {SECRET}")[form]
    chain = Guarded(Speaking(), out={"kind": "secrets", "phases": ["output"]})
    assert ask(chain, family, **body).status == 200


@pytest.mark.parametrize("endpoint", ["completions", "chat"])
@shapes
def test_tool_arguments_of_an_answer_are_read(endpoint: str, stream: bool) -> None:
    called = {
        "id": "c",
        "type": "function",
        "function": {"name": "f", "arguments": orjson.dumps({"k": SECRET}).decode()},
    }
    chain = Guarded(Speaking("", 3, tool_calls=[called]), **BLOCK)
    door = ask(chain, endpoint, stream=stream)
    assert is_blocked(door)
    assert SECRET not in door.body.decode()
