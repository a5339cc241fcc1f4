"""What happened? One record a request, whatever became of it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import orjson
import pytest

from app.core.asgi import start_message
from app.core.keys import Key
from app.core.usage import Usage
from app.observability.request_record import Recorder
from middleware.asgi.metering import Metering
from middleware.asgi.transfer import begin_answer

KEY = Key("web", "acme", (), frozenset(), frozenset({"demo"}), None)


class Log(list[dict[str, Any]]):
    def __call__(self, facts: dict[str, Any]) -> None:
        self.append(facts)


def metered(run: Any, app: Any = None, log_prompts: bool = False) -> dict[str, Any]:
    log = Log()
    with contextlib.suppress(ValueError, asyncio.CancelledError):
        run.through(
            lambda inner: Metering(inner, recorder=Recorder(log=log, log_prompts=log_prompts)), app
        )
    [facts] = log
    return facts


def test_a_record_has_the_facts_of_the_exchange(run: Any) -> None:
    request = run()
    request.exchange.key = KEY
    outcome = request.exchange.outcome
    outcome.status, outcome.provider, outcome.alias = 200, "trial", "demo"
    outcome.usage = Usage(3, 2, estimated=True)
    facts = metered(request)
    assert (facts["request_id"], facts["key"], facts["tenant"]) == ("id-1", "web", "acme")
    assert (facts["alias"], facts["provider"], facts["status"]) == ("demo", "trial", 200)
    assert (facts["prompt_tokens"], facts["completion_tokens"], facts["estimated"]) == (3, 2, True)
    assert facts["total_ms"] >= facts["gateway_ms"] >= 0


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(ValueError("x"), 500, "internal_error"), (asyncio.CancelledError(), 499, None)],
)
def test_a_request_that_blew_up_has_a_record_too(
    run: Any, error: BaseException, status: int, code: str | None
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise error

    facts = metered(run(), app)
    assert (facts["status"], facts["error"]) == (status, code)


def test_a_crash_in_an_answer_leaves_its_status(run: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        begin_answer(scope["state"]["exchange"], start_message(200, []))
        raise ValueError("late")

    assert metered(run(), app)["status"] == 200


def test_an_alias_that_nobody_configured_is_not_logged(run: Any) -> None:
    request = run()
    request.exchange.key = KEY
    request.exchange.outcome.alias = "callers own text"
    assert "callers own text" not in str(metered(request))


@pytest.mark.parametrize("told", [False, True])
def test_prompts_are_logged_only_where_the_operator_says_so(run: Any, told: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        exchange = scope["state"]["exchange"]
        exchange.body = b"the prompt"
        if exchange.outcome.text is not None:
            exchange.outcome.text.append("the answer")
        await send(start_message(200, []))

    facts = metered(run(), app, told)
    assert ("the prompt" in str(facts)) == ("the answer" in str(facts)) == told


def test_a_record_can_be_written_as_json(run: Any) -> None:
    assert orjson.dumps(metered(run()))


def test_a_record_says_what_was_charged_though_a_stale_answer_cost_nothing(run: Any) -> None:
    # The call broke off after some tokens; then the caller got what had been kept.
    request = run()
    request.exchange.key = KEY
    outcome = request.exchange.outcome
    outcome.status, outcome.cost, outcome.charged = 200, 0, 7
    assert metered(request)["cost_usd"] == "0.000000007"
