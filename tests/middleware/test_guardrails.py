"""Guardrails in the chain: the holes that the field has, each closed for both endpoints.

GH numbers in the names' comments are the public issues where others met the hole.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from tests.harness.chain import in_loop
from tests.harness.guarded import (
    BLOCK,
    EMAIL,
    FAMILIES,
    REDACT,
    SECRET,
    Guarded,
    Speaking,
    events,
    question,
    said,
)

both = pytest.mark.parametrize("family", ["completions", "chat"])
shapes = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
LONG = "Nothing to see here, and it goes on for a while. " * 12


def ask(chain: Guarded, family: str = "completions", **members: Any) -> Any:
    return in_loop(lambda: chain.ask(family, **members))


def is_blocked(door: Any) -> bool:
    """Whether an answer was refused, at its beginning or in the midst of its stream."""
    last = events(door)[-1] if door.status == 200 else orjson.loads(door.body)
    code: str = last["error"]["code"]
    return code == "guardrail_blocked" and b"[DONE]" not in door.body


def said_so_far(door: Any) -> dict[str, str]:
    """The texts of a stream that was broken off."""
    texts: dict[str, str] = {}
    for chunk in events(door)[:-1]:
        for one in FAMILIES["chat"].said_in(chunk):
            place = ".".join(map(str, (one.choice, *one.path[1:])))
            texts[place] = texts.get(place, "") + one.text
    return texts


def error_of(door: Any) -> dict[str, Any]:
    error: dict[str, Any] = orjson.loads(door.body)["error"]
    return error


# The input


@both
@shapes
def test_a_secret_in_the_question_is_refused_before_anybody_is_asked(
    family: str, stream: bool
) -> None:
    chain = Guarded(Speaking(), **BLOCK)
    door = ask(chain, family, **question(family, f"my key is {SECRET}"), stream=stream)
    error = error_of(door)
    assert (door.status, error["code"], error["type"]) == (
        400,
        "guardrail_blocked",
        "content_filter",
    )
    assert "no-secrets" in error["message"]
    assert "input" in error["message"]
    assert SECRET not in door.body.decode()
    assert not chain.inner.calls


@both
@shapes
def test_what_is_redacted_never_reaches_the_upstream(family: str, stream: bool) -> None:
    chain = Guarded(Speaking(), **REDACT)
    door = ask(chain, family, **question(family, f"write to {EMAIL} now"), stream=stream)
    [call] = chain.inner.calls
    assert b"write to [EMAIL] now" in call.request.body_for("m")
    assert EMAIL.encode() not in call.request.body_for("m")
    assert door.headers[b"x-headgate-guardrails"] == b"pii.email=redact"


FORMS: dict[str, dict[str, Any]] = {
    "prompt": {"prompt": SECRET},
    "prompt[2]": {"prompt": ["a", "b", f"c {SECRET}"]},
    "suffix": {"prompt": "a", "suffix": f"and {SECRET}"},
    "stop": {"prompt": "a", "stop": SECRET},
    "guided_regex": {"prompt": "a", "guided_regex": SECRET},
    "documents[0].text": {"prompt": "a", "documents": [{"text": SECRET}]},
    "metadata.deep.er": {"prompt": "a", "metadata": {"deep": {"er": SECRET}}},
    "messages[0].content": {"messages": [{"role": "user", "content": SECRET}]},
    "messages[0].content[1].text": {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": SECRET}],
            }
        ]
    },
    "messages[1].tool_calls[0].function.arguments": {
        "messages": [
            {"role": "user", "content": "a"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {
                            "name": "f",
                            "arguments": orjson.dumps({"k": SECRET}).decode(),
                        },
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "done"},
        ]
    },
    "tools[0].function.description": {
        "messages": [{"role": "user", "content": "a"}],
        "tools": [{"type": "function", "function": {"name": "f", "description": SECRET}}],
    },
    "response_format.json_schema.schema.description": {
        "messages": [{"role": "user", "content": "a"}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "s", "schema": {"type": "object", "description": SECRET}},
        },
    },
    "chat_template": {"messages": [{"role": "user", "content": "a"}], "chat_template": SECRET},
}


@pytest.mark.parametrize("place", FORMS)
def test_every_string_of_the_body_is_read(place: str) -> None:
    body = FORMS[place]
    family = "chat" if "messages" in body else "completions"
    chain = Guarded(Speaking(), **BLOCK)
    door = ask(chain, family, **({"prompt": None, "messages": None} | body))
    assert door.status == 400, door.body
    assert error_of(door)["param"] == place
    assert error_of(door)["details"][0]["param"] == place


def test_a_conversation_at_the_completions_endpoint_is_read_too() -> None:
    chain = Guarded(Speaking(), **BLOCK)
    body = {"prompt": None, "messages": [{"role": "user", "content": SECRET}]}
    assert ask(chain, **body).status == 400


def test_the_model_and_the_users_name_are_no_text() -> None:
    rule = {"names": {"kind": "keywords", "words": ["house", "ann"]}}
    assert ask(Guarded(Speaking(), **rule), prompt="hello", user="ann").status == 200


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": f"it is {SECRET[:9]}", "suffix": f"{SECRET[9:]} in all"},
        {
            "messages": [
                {"role": "user", "content": f"first half {SECRET[:9]}"},
                {"role": "user", "content": f"{SECRET[9:]} is the second"},
            ]
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": SECRET[:12]},
                        {"type": "text", "text": SECRET[12:]},
                    ],
                }
            ]
        },
    ],
    ids=["suffix", "messages", "parts"],
)
def test_a_secret_in_two_halves_is_one(body: dict[str, Any]) -> None:
    family = "chat" if "messages" in body else "completions"
    assert ask(Guarded(Speaking(), **BLOCK), family, **body).status == 400


def test_what_is_redacted_at_the_end_of_one_message_does_not_upset_the_next() -> None:
    chain = Guarded(Speaking(), **REDACT)
    messages = [{"role": "user", "content": one} for one in (f"mail {EMAIL}", "Thanks a lot")]
    assert ask(chain, "chat", messages=messages).status == 200


OPAQUE: list[tuple[str, dict[str, Any]]] = [
    ("completions", {"prompt": [1, 2, 3]}),
    ("completions", {"prompt": [[1, 2], [3]]}),
    ("completions", {"prompt": "a", "prompt_embeds": "AAAA"}),
    (
        "chat",
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "https://x.example/a"}}],
                }
            ]
        },
    ),
]


@pytest.mark.parametrize(("family", "body"), OPAQUE)
def test_what_is_no_text_is_refused_where_a_rule_reads_the_input(
    family: str, body: dict[str, Any]
) -> None:
    door = ask(Guarded(Speaking(), **BLOCK), family, **body)
    assert (door.status, error_of(door)["code"]) == (400, "unsupported_parameter")


@pytest.mark.parametrize(("family", "body"), OPAQUE)
def test_where_it_is_allowed_it_is_counted(family: str, body: dict[str, Any]) -> None:
    chain = Guarded(Speaking(), no_secrets={"kind": "secrets", "unscannable": "allow"})
    assert ask(chain, family, **body).status == 200
    assert any("unscannable" in name and "allow" in name for name in chain.counted.counts)


def test_a_rule_for_the_output_alone_refuses_no_input() -> None:  # AISIX #1115
    chain = Guarded(Speaking(), out={"kind": "secrets", "phases": ["output"]})
    assert ask(chain, prompt=f"my key {SECRET}").status == 200
    assert ask(chain, prompt=[1, 2, 3]).status == 200


def test_a_rule_that_only_observes_refuses_nothing_and_is_silent() -> None:
    chain = Guarded(Speaking(), seen={"kind": "secrets", "mode": "observe"})
    door = ask(chain, prompt=SECRET)
    assert door.status == 200
    assert b"x-headgate-guardrails" not in door.headers
    assert set(door.exchange.outcome.guardrails) == {"seen.secret=observe"}


def test_the_strictest_of_several_rules_wins() -> None:
    rules = {"soft": {"kind": "pii", "mode": "redact"}, "hard": {"kind": "pii", "mode": "block"}}
    assert ask(Guarded(Speaking(), **rules), prompt=EMAIL).status == 400


def test_a_rule_holds_where_it_says() -> None:
    elsewhere = {"kind": "secrets", "tenants": ["other"]}
    assert ask(Guarded(Speaking(), one=elsewhere), prompt=SECRET).status == 200
    here = {"kind": "secrets", "tenants": ["ac*"], "models": ["house"], "keys": ["web"]}
    assert ask(Guarded(Speaking(), one=here), prompt=SECRET).status == 400


def test_a_caller_may_add_a_rule_and_take_none_away() -> None:
    rules = {"extra": {"kind": "secrets", "on_request": True}, **REDACT}
    chain = Guarded(Speaking(), **rules)
    asked = [(b"x-headgate-guardrails", b"extra")]
    assert ask(chain, prompt=SECRET).status == 200
    assert ask(chain, prompt=SECRET, headers=asked).status == 400
    wrong = ask(chain, prompt="a", headers=[(b"x-headgate-guardrails", b"none")])
    assert error_of(wrong)["param"] == "x-headgate-guardrails"
    assert ask(chain, prompt="a", headers=[(b"x-headgate-guardrails", b"pii")]).status == 400


# The output


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


# The cache


@both
@shapes
def test_a_hit_has_passed_the_rules(family: str, stream: bool) -> None:  # AISIX #448
    chain = Guarded(Speaking(f"mail {EMAIL}"), **REDACT)
    ask(chain, family)
    door = ask(chain, family, stream=stream)
    assert door.headers[b"x-headgate-cache"] == b"hit"
    assert set(said(door).values()) == {"mail [EMAIL]"}
    assert len(chain.inner.calls) == 1


@both
def test_the_input_is_read_before_the_cache_is_asked(family: str) -> None:
    chain = Guarded(Speaking())
    body = question(family, f"my key is {SECRET}")
    assert ask(chain, family, **body).status == 200
    chain.rules(**BLOCK)
    assert ask(chain, family, **body).status == 400


def test_an_entry_made_under_other_rules_is_a_miss() -> None:
    chain = Guarded(Speaking(f"mail {EMAIL}"))
    assert EMAIL in ask(chain).body.decode()
    chain.rules(**REDACT)
    door = ask(chain)
    assert door.headers[b"x-headgate-cache"] == b"miss"
    assert set(said(door).values()) == {"mail [EMAIL]"}
    assert ask(chain).headers[b"x-headgate-cache"] == b"hit"


def test_a_change_of_input_rules_keeps_the_answers() -> None:
    chain = Guarded(Speaking(), **REDACT)
    ask(chain)
    chain.rules(**REDACT, more={"kind": "length", "phases": ["input"], "max_characters": 9000})
    assert ask(chain).headers[b"x-headgate-cache"] == b"hit"


def test_prompts_that_are_the_same_when_redacted_share_an_entry() -> None:
    chain = Guarded(Speaking(), **REDACT)
    ask(chain, prompt="who is ann@example.com?")
    assert ask(chain, prompt="who is bob@example.com?").headers[b"x-headgate-cache"] == b"hit"


def test_a_blocked_answer_is_not_kept() -> None:
    chain = Guarded(Speaking(SECRET), **BLOCK)
    ask(chain)
    ask(chain)
    assert len(chain.inner.calls) == 2


# Whole texts


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


# Those who share a call


@both
@shapes
def test_followers_get_what_the_rules_left(family: str, stream: bool) -> None:
    chain = Guarded(Speaking(f"mail {EMAIL} and so on"), **REDACT)

    async def crowd() -> Any:
        return await asyncio.gather(*(chain.ask(family, stream=stream) for _ in range(5)))

    doors = in_loop(crowd)
    assert {text for door in doors for text in said(door).values()} == {"mail [EMAIL] and so on"}
    assert len(chain.inner.calls) == 1


@both
@shapes
def test_a_block_is_everybodys(family: str, stream: bool) -> None:
    chain = Guarded(Speaking(f"the key {SECRET} leaks"), **BLOCK)

    async def crowd() -> Any:
        return await asyncio.gather(*(chain.ask(family, stream=stream) for _ in range(5)))

    doors = in_loop(crowd)
    assert {door.status for door in doors} == {400}
    assert all(SECRET.encode() not in door.body for door in doors)
    assert len(chain.inner.calls) <= 2


def test_requests_under_other_rules_do_not_share_a_call() -> None:
    rules = {"extra": {"kind": "pii", "mode": "redact", "on_request": True, "phases": ["output"]}}
    chain = Guarded(Speaking(f"mail {EMAIL}"), **rules)
    asked = [(b"x-headgate-guardrails", b"extra")]

    async def two() -> Any:
        return await asyncio.gather(chain.ask(stream=True), chain.ask(headers=asked, stream=True))

    plain, guarded = in_loop(two)
    assert said(plain) == {"0.text": f"mail {EMAIL}"}
    assert said(guarded) == {"0.text": "mail [EMAIL]"}
    assert len(chain.inner.calls) == 2
