"""Guardrails of the input: every text of a request, before the cache is asked."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from app.core.errors import UpstreamTimeout
from tests.harness.guarded import (
    BLOCK,
    EMAIL,
    REDACT,
    SECRET,
    Guarded,
    Speaking,
    ask,
    both,
    error_of,
    question,
    shapes,
)


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


IDS = {"no_secrets": {"kind": "secrets", "unscannable": "detokenize"}}


async def as_characters(tokens: Any) -> str:
    return "".join(map(chr, tokens))


@pytest.mark.parametrize("prompt", [[*map(ord, SECRET)], [[104, 105], [*map(ord, SECRET)]]])
def test_token_ids_are_read_as_the_text_that_they_stand_for(prompt: Any) -> None:
    chain = Guarded(Speaking(), **IDS)
    chain.detokenize = as_characters
    assert ask(chain, prompt=[104, 105]).status == 200
    door = ask(chain, prompt=prompt)
    assert (door.status, error_of(door)["code"]) == (400, "guardrail_blocked")
    assert error_of(door)["param"] == ("prompt" if type(prompt[0]) is int else "prompt[1]")


def test_without_a_server_that_knows_the_text_token_ids_are_refused() -> None:
    chain = Guarded(Speaking(), **IDS)
    assert error_of(ask(chain, prompt=[1, 2]))["code"] == "unsupported_parameter"

    async def broken(tokens: Any) -> str:
        raise UpstreamTimeout("late")

    chain.detokenize = broken
    assert error_of(ask(chain, prompt=[1, 2]))["code"] == "guardrail_unavailable"


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
