"""A target that would have to ignore a parameter is left out where another one can honour it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from app.config.loading import load
from app.core.call import Call
from app.core.errors import InvalidRequest
from app.core.exchange import Exchange
from app.core.reply import ReplyWriter
from app.core.request import Allowance
from app.providers.routing.routes import Router
from app.routes.chat import CHAT
from app.routes.completions import COMPLETIONS
from middleware.bounds import Bounds
from tests.harness.chain import KEY, RecordingWriter, in_loop

AWAY = "http://127.0.0.1:9/v1"
PROVIDERS: dict[str, Any] = {
    "claude": {"kind": "anthropic", "base_url": AWAY, "api_key": "sk-nobody"},
    "gemini": {"kind": "gemini", "base_url": AWAY, "api_key": "sk-nobody"},
    "mistral": {"kind": "mistral", "base_url": AWAY, "api_key": "sk-nobody"},
    "narrow": {
        "kind": "openai",
        "base_url": AWAY,
        "unsupported": ["logprobs", "seed"],
        "unsupported_completions": ["logprobs", "best_of"],
    },
    "wide": {"kind": "openai", "base_url": AWAY},
    "sim": {"kind": "simulator"},
}
MESSAGES = [{"role": "user", "content": "why"}]
CHAT_CALL = {"messages": MESSAGES}


def left(family: Any, *providers: str, completions: str = "native", **members: Any) -> list[str]:
    """The providers of the targets that a request is left with, after the layer Bounds."""
    targets = [{"provider": one, "model": "m"} for one in providers]
    document = {
        "providers": PROVIDERS,
        "models": {"house": {"targets": targets, "completions": completions}},
        "tenants": {"acme": {}},
        "keys": [{"id": "web", "tenant": "acme", "secret": "hg-web-0123456789abcdef"}],
    }
    router = Router(load(orjson.dumps(document).decode()).settings)
    request = family.parse(orjson.dumps({"model": "house"} | members))
    exchange = Exchange("id-1", {}, 0.0)
    call = Call.of(exchange, KEY, family, request, [])
    alias = router.find(call)
    assert alias is not None
    call.targets = alias.routes
    passed: list[Call] = []

    async def inner(call: Call, reply: ReplyWriter) -> None:
        passed.append(call)

    async def body() -> None:
        layer = Bounds(inner, allowance_of=lambda key, alias: Allowance(False, None))
        await layer(call, RecordingWriter())
        await router.aclose()

    in_loop(body)
    return [route.provider for route in passed[0].targets]


@pytest.mark.parametrize(
    ("provider", "members"),
    [
        ("claude", {"logprobs": True}),
        ("claude", {"temperature": 1.5}),
        ("claude", {"seed": 7}),
        ("gemini", {"logit_bias": {"5": 1}}),
        ("mistral", {"logprobs": True}),
        ("narrow", {"logprobs": True}),
        ("narrow", {"seed": 7}),
    ],
)
def test_another_target_answers_what_the_first_would_ignore(
    provider: str, members: dict[str, Any]
) -> None:
    assert left(CHAT, provider, "wide", **CHAT_CALL, **members) == ["wide"]


@pytest.mark.parametrize("provider", ["claude", "gemini", "mistral", "narrow", "sim"])
@pytest.mark.parametrize("members", [{}, {"temperature": 0.5, "max_tokens": 5, "n": 1}])
def test_a_target_that_can_is_asked_first(provider: str, members: dict[str, Any]) -> None:
    assert left(CHAT, provider, "wide", **CHAT_CALL, **members) == [provider, "wide"]


@pytest.mark.parametrize(
    "members",
    [{"stop": ["a", "b", "c", "d"]}, {"stop": " "}, {"stream": True}],
    ids=["stops", "a blank stop", "stream"],
)
def test_what_the_gateway_makes_up_for_is_honoured(members: dict[str, Any]) -> None:
    assert left(CHAT, "claude", "wide", **CHAT_CALL, **members) == ["claude", "wide"]


def test_best_of_is_ranked_by_the_gateway() -> None:
    ranked = left(COMPLETIONS, "wide", "sim", prompt="q", best_of=2)
    assert ranked == ["wide", "sim"]
    assert left(COMPLETIONS, "narrow", "wide", prompt="q", logprobs=1) == ["wide"]


def test_completions_over_chat_are_asked_what_chat_can_do() -> None:
    one = {"completions": "chat", "prompt": "q"}
    assert left(COMPLETIONS, "claude", "wide", **one) == ["claude", "wide"]
    assert left(COMPLETIONS, "claude", "wide", **one, seed=7) == ["wide"]


def test_where_none_can_the_first_says_why() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        left(CHAT, "claude", "narrow", **CHAT_CALL, logprobs=True)
    assert (refusal.value.param, refusal.value.code) == ("logprobs", "unsupported_parameter")


def test_the_only_target_is_left_to_say_so_itself() -> None:
    assert left(CHAT, "claude", **CHAT_CALL, logprobs=True) == ["claude"]
