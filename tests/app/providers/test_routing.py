"""From alias to target, and what each kind of target takes."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from app.config.loading import load
from app.core.errors import InvalidRequest, NotFound, NotImplementedHere
from app.core.pricing import UNBOUNDED
from app.openai.completions.request import CompletionRequest, parse
from app.providers.chat_only import ChatOnly
from app.providers.routing import Route, Router, completions_of
from app.providers.simulator import SimulatorProvider

TEXT = """
providers:
  trial: {kind: simulator}
  chatty: {kind: openai, base_url: "http://h/v1", endpoints: [chat]}
  legacy: {kind: openai, base_url: "http://h/v1", endpoints: [completions], forward_headers: []}
models:
  native: {targets: [{provider: trial, model: simulator-1}]}
  bridged: {targets: [{provider: chatty, model: c}], completions: chat}
  "off": {targets: [{provider: trial, model: simulator-1}], completions: "off"}
  missing: {targets: [{provider: chatty, model: c}]}
  legacy: {targets: [{provider: legacy, model: l}]}
"""
EVERYTHING = frozenset({"native", "bridged", "off", "missing", "legacy"})


def route(alias: str, allowed: frozenset[str] = EVERYTHING) -> Route:
    async def run() -> Route:
        router = Router(load(TEXT, environment={}).settings)
        try:
            return router.resolve(alias, allowed)
        finally:
            await router.aclose()

    return asyncio.run(run())


def request(**members: Any) -> CompletionRequest:
    return parse(orjson.dumps({"model": "m"} | (members or {"prompt": "p"})))


def test_an_alias_leads_to_its_target() -> None:
    found = route("native")
    assert (found.provider, found.model) == ("trial", "simulator-1")
    assert isinstance(completions_of(found, request())[0], SimulatorProvider)


def test_a_chat_setting_leads_over_the_bridge() -> None:
    assert isinstance(completions_of(route("bridged"), request())[0], ChatOnly)


@pytest.mark.parametrize("alias", ["native", "bridged"])
def test_a_request_that_needs_no_change_is_asked_as_it_is(alias: str) -> None:
    asked = request()
    assert completions_of(route(alias), asked)[1] is asked


@pytest.mark.parametrize("alias", ["off", "missing"])
def test_where_nobody_answers_completions_it_is_501(alias: str) -> None:
    with pytest.raises(NotImplementedHere) as caught:
        completions_of(route(alias), request())
    assert caught.value.status == 501


def test_unknown_and_forbidden_aliases_are_told_apart_by_nobody() -> None:
    messages = []
    for alias, allowed in (("native", frozenset({"off"})), ("unknown", EVERYTHING)):
        with pytest.raises(NotFound) as caught:
            route(alias, allowed)
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
        messages.append(caught.value.message.replace(alias, "X"))
    assert messages[0] == messages[1]


def test_headers_go_upstream_unless_the_configuration_says_no() -> None:
    tracing = {b"traceparent", b"tracestate", b"x-request-id"}
    assert route("bridged").forward_headers == tracing
    assert not route("legacy").forward_headers


COUNTED = """
providers:
  poor: {kind: openai, base_url: "http://h/v1", unsupported: [n]}
  rich: {kind: openai, base_url: "http://h/v1"}
models:
  native: {targets: [{provider: poor, model: c}]}
  once: {targets: [{provider: rich, model: c}], completions: chat}
  each: {targets: [{provider: poor, model: c}], completions: chat}
"""


@pytest.mark.parametrize(("alias", "calls"), [("native", 1), ("once", 3), ("each", 6)])
def test_a_route_knows_how_many_calls_a_request_makes(alias: str, calls: int) -> None:
    async def run() -> int:
        router = Router(load(COUNTED, environment={}).settings)
        try:
            found = router.find(alias)
            assert found is not None
            return found.calls_of(request(prompt=["a", "b", "c"], n=2))
        finally:
            await router.aclose()

    assert asyncio.run(run()) == calls


PRICED = """
providers: {p: {kind: simulator}}
models:
  m: {targets: [{provider: p, model: c}], price: {input_per_million: 1, output_per_million: 1}}
"""


def test_a_body_that_was_not_bound_and_says_more_costs_more_than_any_budget() -> None:
    async def run() -> list[int | None]:
        router = Router(load(PRICED, environment={}).settings)
        return [
            router.cost_bound(request(prompt=[1, 2], **more))
            for more in ({"max_tokens": 3}, {"n_predict": 3})
        ]

    assert asyncio.run(run()) == [5_000, UNBOUNDED]


@pytest.mark.parametrize(
    ("content", "prompt"),
    [("hi", "hi"), ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab")],
)
def test_one_user_message_becomes_the_prompt_of_a_native_target(content: Any, prompt: str) -> None:
    asked = request(messages=[{"role": "user", "content": content}])
    assert completions_of(route("native"), asked)[1].prompts == [prompt]
    assert asked.prompts == []  # what is passed along is frozen


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": "s"}],
        [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
    ],
)
def test_any_other_conversation_is_refused_by_a_native_target(messages: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        completions_of(route("native"), request(messages=messages))
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "messages")
