"""What an operator declared volatile does not count in a fingerprint, and is part of its form."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from app.config.values.patterns import Patterns
from app.openai.completions.request import parse
from cache.answers.fingerprint import Fingerprinter
from cache.answers.fingerprint_form import Scope

IDS = Patterns([r"request id \S+"])


def prints(ignore: Patterns | None = IDS) -> Fingerprinter:
    return Fingerprinter(
        scope=Scope("tenant", "acme", ""),
        namespace="",
        family="completions",
        alias="m",
        targets=[["openai", "x"]],
        normalize="standard",
        ignore=ignore,
    )


def of(ignore: Patterns | None = IDS, **members: Any) -> list[bytes]:
    return prints(ignore).of(parse(orjson.dumps({"model": "m"} | members)))


def chat(*messages: Any, ignore: Patterns | None = IDS, **members: Any) -> bytes:
    body = {"model": "m", "messages": list(messages)} | members
    [digest] = prints(ignore).of(parse(orjson.dumps(body)))
    return digest


def said(content: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": content}


def test_prompts_that_differ_in_what_is_volatile_are_one() -> None:
    assert of(prompt="Sum up. request id 1") == of(prompt="Sum up. request id abc-2")
    assert of(prompt="Sum up. request id 1") != of(prompt="Sum it up. request id 1")
    assert of(prompt=["a request id 1", "b"]) == of(prompt=["a request id 2", "b"])


def test_without_a_pattern_they_are_two() -> None:
    assert of(None, prompt="Sum up. request id 1") != of(None, prompt="Sum up. request id 2")


def test_messages_lose_it_in_every_role_and_part() -> None:
    one = chat(said("be brief, request id 1", "system"), said("hi"))
    assert one == chat(said("be brief, request id 2", "system"), said("hi"))
    parts = [{"type": "text", "text": "hi request id 1"}, {"type": "text", "text": "x"}]
    other = [{"type": "text", "text": "hi request id 2"}, {"type": "text", "text": "x"}]
    assert chat(said(parts)) == chat(said(other))
    assert chat(said("hi request id 1")) != chat(said("ho request id 1"))


def test_other_members_keep_it() -> None:
    assert chat(said("hi") | {"name": "request id 1"}) != chat(
        said("hi") | {"name": "request id 2"}
    )
    assert of(prompt="a", stop="request id 1") != of(prompt="a", stop="request id 2")
    assert of(prompt="a", suffix="request id 1") != of(prompt="a", suffix="request id 2")


@pytest.mark.parametrize("member", [{"echo": True}, {"logprobs": 1}, {"prompt_logprobs": 1}])
def test_where_the_prompt_is_part_of_the_answer_nothing_is_ignored(member: dict[str, Any]) -> None:
    assert of(prompt="a request id 1", **member) != of(prompt="a request id 2", **member)


def test_the_patterns_are_part_of_the_form() -> None:
    other = Patterns([r"request id \d+"])
    assert of(IDS, prompt="a") != of(None, prompt="a")
    assert of(IDS, prompt="a") != of(other, prompt="a")
    [form] = prints().forms(parse(b'{"model":"m","prompt":"a request id 1"}'))
    assert b"A2:S6:ignoreA1:S14:request id \\S+S8:standard" in form
    assert form.endswith(b"S6:promptS1:a")


def test_a_partition_ignores_it_in_earlier_messages() -> None:
    def partition(text: str) -> bytes:
        body = {"model": "m", "messages": [said(text, "system"), said("hi")]}
        return prints().partition(parse(orjson.dumps(body)), "")

    assert partition("a request id 1") == partition("a request id 2")
    assert partition("a request id 1") != partition("b request id 1")
