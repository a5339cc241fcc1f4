"""From alias to target, and what each kind of target takes."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from app.config.loading import load
from app.core.errors import NotFound, NotImplementedHere
from app.core.pricing import UNBOUNDED
from app.openai.completions.request import CompletionRequest, parse
from app.providers.adapters.best_of import BestOf
from app.providers.adapters.chat_only import ChatOnly
from app.providers.openai import OpenAIProvider
from app.providers.routing.routes import Endpoint, Route, Router, cost_bound
from app.providers.simulator.provider import SimulatorProvider
from app.routes.completions import COMPLETIONS
from tests.harness.chain import KEY, call_of

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


def route(
    alias: str,
    allowed: frozenset[str] = EVERYTHING,
    text: str = TEXT,
    operation: str = "completions",
) -> tuple[Route, Endpoint]:
    async def run() -> tuple[Route, Endpoint]:
        router = Router(load(text, environment={}).settings)
        try:
            call = call_of(key=KEY._replace(models=allowed), model=alias)
            call.family = COMPLETIONS._replace(name=operation)
            found = router.find(call) if alias in allowed else None
            if found is None or operation not in found.routes[0].endpoints:
                raise router.refusal(call)
            return found.routes[0], found.routes[0].endpoints[operation]
        finally:
            await router.aclose()

    return asyncio.run(run())


def request(**members: Any) -> CompletionRequest:
    return parse(orjson.dumps({"model": "m"} | (members or {"prompt": "p"})))


def test_an_alias_leads_to_its_target() -> None:
    found, endpoint = route("native")
    assert (found.provider, found.model) == ("trial", "simulator-1")
    assert isinstance(endpoint.answers, SimulatorProvider)
    assert endpoint.native


def test_a_chat_setting_leads_over_the_bridge() -> None:
    _, endpoint = route("bridged")
    assert isinstance(endpoint.answers, BestOf)
    assert isinstance(endpoint.answers._answers, ChatOnly)
    assert not endpoint.native


def test_a_provider_is_asked_itself_for_whatever_else_it_has() -> None:
    _, endpoint = route("bridged", operation="chat")
    assert isinstance(endpoint.answers, OpenAIProvider)
    assert endpoint.native


@pytest.mark.parametrize(
    ("alias", "operation"),
    [
        ("off", "completions"),
        ("missing", "completions"),
        ("legacy", "chat"),
        ("legacy", "embeddings"),
    ],
)
def test_where_nobody_answers_an_operation_it_is_501(alias: str, operation: str) -> None:
    with pytest.raises(NotImplementedHere, match=f"does not offer {operation}") as caught:
        route(alias, operation=operation)
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
    assert route("bridged")[0].forward_headers == tracing
    assert not route("legacy")[0].forward_headers


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
    _, endpoint = route(alias, frozenset({alias}), COUNTED)
    assert endpoint.fan_out(request(prompt=["a", "b", "c"], n=2)).calls == calls


PRICED = """
providers: {p: {kind: simulator}}
models:
  m: {targets: [{provider: p, model: c}], price: {input_per_million: 1, output_per_million: 1}}
"""


def test_a_body_that_was_not_bound_and_says_more_costs_more_than_any_budget() -> None:
    async def run() -> list[int | None]:
        router = Router(load(PRICED, environment={}).settings)
        bounds = []
        for more in ({"max_tokens": 3}, {"n_predict": 3}):
            call = call_of(model="m", prompt=[1, 2], **more)
            found = router.find(call)
            assert found is not None
            call.targets = found.routes
            bounds.append(cost_bound(call))
        return bounds

    assert asyncio.run(run()) == [5_000, UNBOUNDED]
