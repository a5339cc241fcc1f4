"""What recorded answers cost where tokens of a prompt cache, and thoughts, have prices of their own.

The right-hand sides are written down from the recordings' own members, provider by provider.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from app.core.pricing import MILLION, Price, nano_dollars
from app.core.usage import Usage, read_usage
from app.openai.chat.answer import read_answer
from app.openai.chat.request import parse
from tests.app.providers.translation.test_recordings import TRANSLATIONS, asked_of
from tests.harness.recordings import Recording, recordings

# Dollars a token that no sum of others gives.
PRICE = Price(10**9, 10**11, cached_input=10**7, cache_write=10**13, reasoning=10**15)
REQUEST = parse(b'{"model": "m", "messages": [{"role": "user", "content": "x"}]}')


def named(part: str) -> Recording:
    [found] = [one for one in recordings() if part in one.name]
    return found


def used_by(recording: Recording) -> Usage:
    """As the gateway reads it: through the provider's translation, then the family's own."""
    translation = TRANSLATIONS.get(recording.endpoint)
    if recording.stream and translation is not None:
        translator = translation.translator(asked_of(recording), 1 << 20)
        translator.take(recording.body)
        usage = read_usage(translator.usage)
        assert usage is not None
        return usage
    body = recording.body
    if translation is not None:
        body = orjson.dumps(translation.answer(asked_of(recording), body))
    return read_answer(body, REQUEST, "m", 1).usage


def cost(given: int = 0, made: int = 0, cached: int = 0, written: int = 0, thought: int = 0) -> int:
    prices = (10**9, 10**11, 10**7, 10**13, 10**15)
    total = sum(n * p for n, p in zip((given, made, cached, written, thought), prices, strict=True))
    return -(-total // MILLION)


def at(name: str, **parts: int) -> Any:
    return pytest.param(name, parts, id=name)


CASES = [
    at("test_anthropic_prompt_caching_async", given=4, cached=1165, made=224),
    at("tool_choice_preserves_cache-anthropic", given=433, cached=2752, made=16),
    at("tool_choice_preserves_cache-nova", given=22, written=2492, made=13),
    at("test_gemini-test_prompt_with_multiple_dogs", given=6, made=65, thought=570),
    at("vertex-gemini-reasoning", given=10, made=12, thought=5),
    at("ai-gateway-chat-reasoning", given=27, made=75, thought=192),
    at("azure-chat-basic", given=8, made=79, thought=192),
    at("test_deepseek_deferred_capability", given=51, cached=512, made=56, thought=60),
    at("test_mistral_history_uses_prompt_cache-1", given=44, cached=224, made=5),
    at(
        "test_openrouter_cache_all_settings_real_api-2", given=3, cached=2240, written=329, made=100
    ),
    at("test_openrouter_cache_messages_anthropic", given=3, written=3211, made=100),
    at("test_zai_vision_thinking", given=431, cached=4, made=17, thought=56),
    # Both read and written in one call: no token stands twice.
    at("test_openrouter_cache_instructions_gemini", cached=2161, written=7, made=100),
    # Gemini's compatible endpoint counts thoughts in the total alone: 66 and 6 of 100.
    at("test_compatible_api_with_tool_calls", given=66, made=6, thought=28),
]


@pytest.mark.parametrize(("name", "parts"), CASES)
def test_each_kind_of_token_is_charged_once(name: str, parts: dict[str, int]) -> None:
    assert PRICE.cost(used_by(named(name))) == cost(**parts)


def test_thoughts_that_outnumber_the_completion_are_all_of_it() -> None:
    said = b"".join(named("test_openrouter_stream_error").body.split(b"data: "))
    assert b'"reasoning_tokens":11' in said
    assert b'"completion_tokens":10' in said
    members = {
        "prompt_tokens": 43,
        "completion_tokens": 10,
        "total_tokens": 53,
        "completion_tokens_details": {"reasoning_tokens": 11},
    }
    usage = read_usage(members)
    assert usage is not None
    assert PRICE.cost(usage) == cost(given=43, thought=10)


@pytest.mark.parametrize(
    "name",
    ["cache_all_settings_real_api-2", "cache_all_settings_real_api", "cache_messages_anthropic"],
)
def test_openrouter_bills_the_same(name: str) -> None:
    [recording] = [one for one in recordings() if one.name.endswith((name, f"{name}_real_api"))]
    billed = orjson.loads(recording.body)["usage"]["cost"]
    # Claude Sonnet 4.5's prices, which https://www.anthropic.com/pricing lists.
    price = Price(*map(nano_dollars, (3, 15, "0.30", "3.75")))
    assert price.cost(used_by(recording)) == nano_dollars(billed)


def test_a_plain_answer_with_details_passes_byte_for_byte() -> None:
    recording = named("ai-gateway-chat-reasoning")
    answer = read_answer(recording.body, REQUEST, "m", 1)
    assert answer.body == recording.body
    assert answer.usage == Usage(27, 267, reasoning_tokens=192)
