"""Text counts by its length, everything else by a number that is set: never by bytes, never 0."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from app.core.request import DEFAULT_PART_TOKENS, FanOut, PartTokens
from app.openai.completions.answer import estimate
from app.openai.completions.bounds import likely, prompt_bound, prompt_estimate
from app.openai.completions.request import CompletionRequest, parse

SET = PartTokens(image_low=3, image_high=50, image_auto=40, audio=60, video=70, file=80, other=90)
PICTURE = "data:image/jpeg;base64," + base64.b64encode(bytes(900_000)).decode()


def request(**members: Any) -> CompletionRequest:
    return parse(orjson.dumps({"model": "m"} | members))


def said(*parts: dict[str, Any], **more: Any) -> CompletionRequest:
    asked = request(messages=[{"role": "user", "content": list(parts)}], max_tokens=0, **more)
    asked.part_tokens = SET
    return asked


def image(detail: str | None = None, url: str = "https://h/i.png") -> dict[str, Any]:
    inner = {"url": url} | ({"detail": detail} if detail else {})
    return {"type": "image_url", "image_url": inner}


PARTS = {
    "image": (image(), 40),
    "auto": (image("auto"), 40),
    "low": (image("low"), 3),
    "high": (image("high"), 50),
    "a new detail": (image("original"), 50),
    "a bare address": ({"type": "image_url", "image_url": "https://h/i.png"}, 40),
    "detail beside": ({"type": "input_image", "image_url": "x", "detail": "low"}, 3),
    "audio": ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, 60),
    "audio by address": ({"type": "audio_url", "audio_url": {"url": "x"}}, 60),
    "video": ({"type": "video_url", "video_url": {"url": "x"}}, 70),
    "file": ({"type": "file", "file": {"file_data": "AAAA" * 1000}}, 80),
    "document": ({"type": "document", "source": {"data": "AAAA" * 1000}}, 80),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_counts_by_its_kind_and_detail(name: str) -> None:
    part, tokens = PARTS[name]
    assert prompt_estimate(said(part)) == tokens
    assert prompt_estimate(said(part, part)) == 2 * tokens
    assert tokens <= prompt_bound(said(part)) <= tokens + 40
    assert estimate(said(part), 0).prompt_tokens == tokens


def test_an_image_of_900_kilobytes_counts_as_one_image() -> None:
    asked = request(messages=[{"role": "user", "content": [image(url=PICTURE)]}], max_tokens=0)
    assert likely(asked).total_tokens == DEFAULT_PART_TOKENS.image_auto == 50_000
    assert prompt_bound(asked) < 50_100
    assert estimate(asked, 0).prompt_tokens == 50_000


def test_the_defaults_are_at_least_what_providers_charge() -> None:
    assert DEFAULT_PART_TOKENS.image_high >= 2_833 + 8 * 5_667  # gpt-4o-mini, 2048 x 768
    assert DEFAULT_PART_TOKENS.image_low >= max(2_833, 4_784, 16 * 258)
    assert DEFAULT_PART_TOKENS.image_auto >= DEFAULT_PART_TOKENS.image_high
    assert min(DEFAULT_PART_TOKENS) > 0


def test_a_part_of_unknown_kind_counts_as_text_and_as_a_part() -> None:
    part = {"type": "hologram", "data": "x" * 400}
    assert prompt_estimate(said(part)) >= 90 + 100
    assert prompt_bound(said(part)) >= 90 + 400


@pytest.mark.parametrize("kind", ["text", "input_text"])
def test_a_text_part_counts_by_its_text(kind: str) -> None:
    part = {"type": kind, "text": "é" * 100}
    assert prompt_estimate(said(part)) == 50
    assert 200 <= prompt_bound(said(part)) <= 240


def test_calls_and_names_in_a_message_count() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "x" * 400}}
    asked = request(messages=[{"role": "assistant", "tool_calls": [call]}], max_tokens=0)
    assert prompt_estimate(asked) >= 100
    assert prompt_bound(asked) >= 400


@pytest.mark.parametrize(
    "member",
    [
        {"suffix": "x" * 400},
        {"tools": [{"type": "function", "function": {"description": "x" * 400}}]},
        {"functions": [{"name": "f", "description": "x" * 400}]},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"x": "x" * 400}}}},
        {"documents": ["x" * 400]},
    ],
    ids=lambda member: next(iter(member)),
)
def test_what_servers_put_into_the_prompt_counts(member: dict[str, Any]) -> None:
    plain = request(prompt=["a", "b"])
    asked = request(prompt=["a", "b"], **member)
    assert prompt_bound(asked) >= prompt_bound(plain) + 2 * 400
    assert prompt_estimate(asked) >= prompt_estimate(plain) + 2 * 100


def test_whatever_else_is_text_counts_for_the_bound() -> None:
    plain = prompt_bound(request(prompt="a"))
    assert prompt_bound(request(prompt="a", input_extra=["x" * 400])) >= plain + 400
    assert prompt_bound(request(prompt="a", system="x" * 400)) >= plain + 400
    assert prompt_bound(request(prompt="a", user="x" * 400, stop="x" * 400, min_p=0.5)) == plain


def test_a_prompt_that_is_sent_for_each_choice_is_reserved_for_each() -> None:
    asked = request(prompt=["x" * 40, "y" * 40], n=3, max_tokens=1)
    assert FanOut(calls=1).over(likely(asked)).total_tokens == 20 + 6
    assert FanOut(calls=2).over(likely(asked)).total_tokens == 20 + 6
    assert FanOut(calls=6, times=3).over(likely(asked)).total_tokens == 60 + 6
