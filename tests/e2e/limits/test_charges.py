"""A call that was sent is charged by rule where nobody knows what it used, and counted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.limits.books import Account, Books
from tests.e2e.limits.crowd import request
from tests.e2e.limits.fleet import IDS, Caller, Plans
from tests.e2e.limits.scripts import hold
from tests.harness.configuration import PRICE, TOKEN, openai, target
from tests.harness.exchange import Request, Script, Wire
from tests.harness.gateway import Gateway
from tests.harness.good_server import good_server
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

PLANS = Plans()
RULES = {"prompt": 10, "bound": 10 + 7, "nothing": 0}  # tokens of a prompt of ten and seven more
SHORT_TIMES = {"connect": "2s", "first_byte": "200ms", "idle": "200ms", "total": "5s"}


@pytest.fixture(scope="module")
def gateway(server: RedisServer, the_upstream: Upstream) -> Iterator[Gateway]:
    url = f"redis://127.0.0.1:{server.port}/0"
    settings = PLANS.configuration(url, the_upstream, timeout="1s")
    settings["providers"]["quick"] = openai(the_upstream.base_url, timeouts=SHORT_TIMES)
    patient = {"connect": "200ms", "first_byte": "8s", "idle": "8s", "total": "20s"}
    settings["providers"]["narrow"] = openai(
        the_upstream.base_url, max_connections=1, timeouts=patient
    )
    for rule in RULES:
        settings["models"][f"quick-{rule}"] = target("quick", "up", price=PRICE, unknown_usage=rule)
        settings["models"][f"up-{rule}"] = target("up", "up", price=PRICE, unknown_usage=rule)
    settings["models"]["quick-chat"] = target("quick", "up", price=PRICE, completions="chat")
    settings["models"]["narrow"] = target("narrow", "up", price=PRICE)
    with Gateway(settings, PLANS.secrets) as gateway:
        yield gateway


def counted(gateway: Gateway, reason: str) -> int:
    text = gateway.get("/metrics/shared", key=None).body.decode()
    found = re.search(
        rf'^headgate_unknown_usage_total{{operation="completions",reason="{reason}"}} (\d+)$',
        text,
        re.MULTILINE,
    )
    return int(found[1]) if found else 0


def settled(books: Books, caller: Caller) -> int:
    """What a caller has spent, in tokens, once nothing is held."""
    [record] = books.wait_for_records(caller.tenant, 1)
    eventually(lambda: books.account(caller.tenant, f"key:{caller.id}").held, 0)
    account = books.account(caller.tenant, f"key:{caller.id}")
    assert account == Account(record["cost"] or 0, 0)
    if account.spent:
        assert record["estimated"] is True
    return account.spent // TOKEN


def body(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "prompt": IDS, "max_tokens": 7} | fields


def callers(name: str) -> dict[str, Caller]:
    return {rule: PLANS.caller(f"{name}-{rule}", budget={"usd": 1}) for rule in RULES}


LEAVERS, WAITERS, READERS, STREAMERS = map(callers, ("leaver", "waiter", "reader", "streamer"))


@pytest.mark.parametrize("rule", RULES)
def test_a_caller_that_leaves_a_plain_call(
    gateway: Gateway, upstream: Upstream, books: Books, rule: str
) -> None:
    before = counted(gateway, "client_disconnect")
    hold(upstream)
    with gateway.raw() as connection:
        connection.send(request(LEAVERS[rule].secret, body(f"up-{rule}")))
        upstream.wait_for(1)
    assert settled(books, LEAVERS[rule]) == RULES[rule]
    eventually(lambda: counted(gateway, "client_disconnect"), before + 1)


@pytest.mark.parametrize("rule", RULES)
def test_an_upstream_that_times_out(
    gateway: Gateway, upstream: Upstream, books: Books, rule: str
) -> None:
    before = counted(gateway, "timeout")
    hold(upstream)
    reply = gateway.send(body(f"quick-{rule}"), key=WAITERS[rule].secret)
    assert reply.status == 504
    assert settled(books, WAITERS[rule]) == RULES[rule]
    eventually(lambda: counted(gateway, "timeout"), before + 1)


async def rubbish(request: Request, wire: Wire) -> None:
    await wire.answer(b"<html>busy</html>")


@pytest.mark.parametrize("rule", RULES)
def test_an_answer_that_is_rubbish(
    gateway: Gateway, upstream: Upstream, books: Books, rule: str
) -> None:
    before = counted(gateway, "invalid_answer")
    upstream.on("up", rubbish)
    reply = gateway.send(body(f"up-{rule}"), key=READERS[rule].secret)
    assert reply.status == 502
    # Asked again, as far as the provider's retry budget goes: each call is counted, and one that
    # another replaced is not charged.
    assert settled(books, READERS[rule]) == RULES[rule]
    eventually(lambda: counted(gateway, "invalid_answer"), before + len(upstream.requests))


@pytest.mark.parametrize("rule", RULES)
def test_a_stream_that_never_begins(
    gateway: Gateway, upstream: Upstream, books: Books, rule: str
) -> None:
    async def silent(request: Request, wire: Wire) -> None:
        await wire.begin_stream()
        await upstream.gate().wait()

    upstream.on("up", silent)
    reply = gateway.send(body(f"quick-{rule}", stream=True), key=STREAMERS[rule].secret)
    assert reply.status == 504
    assert settled(books, STREAMERS[rule]) == RULES[rule]


async def rubbish_with_usage(request: Request, wire: Wire) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
    await wire.answer({"choices": [], "usage": usage})


TOLD = PLANS.caller("told", budget={"usd": 1})


def test_rubbish_that_says_what_it_used_is_believed(
    gateway: Gateway, upstream: Upstream, books: Books
) -> None:
    before = counted(gateway, "invalid_answer")
    upstream.on("up", rubbish_with_usage)
    assert gateway.send(body("up-prompt"), key=TOLD.secret).status == 502
    [record] = books.wait_for_records("told", 1)
    calls = len(upstream.requests)  # it may have been asked again, and said then too what it used
    assert (record["prompt_tokens"], record["completion_tokens"]) == (10 * calls, 3 * calls)
    eventually(lambda: books.account("told", "key:told"), Account(13 * calls * TOKEN, 0))
    assert counted(gateway, "invalid_answer") == before


def refusing(status: int) -> Script:
    async def script(request: Request, wire: Wire) -> None:
        await wire.answer({"error": {"message": "no"}}, status)

    return script


REFUSED = {
    status: PLANS.caller(f"refused-{status}", budget={"usd": 1})
    for status in (400, 401, 404, 429, 500, 503)
}


@pytest.mark.parametrize("status", REFUSED)
def test_what_an_upstream_refuses_costs_nothing(
    gateway: Gateway, upstream: Upstream, books: Books, status: int
) -> None:
    upstream.on("up", refusing(status))
    assert gateway.send(body("up-bound"), key=REFUSED[status].secret).status >= 400
    assert settled(books, REFUSED[status]) == 0


UNSENT = PLANS.caller("never-sent", budget={"usd": 1})
QUEUED = PLANS.caller("queued", budget={"usd": 1})
FIRST = PLANS.caller("first", budget={"usd": 1})


def test_what_was_never_sent_costs_nothing(gateway: Gateway, books: Books) -> None:
    assert gateway.send(body("nobody"), key=UNSENT.secret).status == 502
    assert settled(books, UNSENT) == 0


def test_what_waited_for_a_connection_in_vain_costs_nothing(
    gateway: Gateway, upstream: Upstream, books: Books
) -> None:
    hold(upstream)
    with gateway.raw() as connection:
        connection.send(request(FIRST.secret, body("narrow")))
        upstream.wait_for(1)
        with gateway.raw() as second:
            second.send(request(QUEUED.secret, body("narrow")))
            answer = second.answer()
    assert answer is not None
    assert answer.status == 503
    assert (settled(books, QUEUED), settled(books, FIRST)) == (0, 10)


PARTLY = PLANS.caller("partly", budget={"usd": 1})


def test_of_several_calls_only_the_unknown_ones_are_guessed(
    gateway: Gateway, upstream: Upstream, books: Books
) -> None:
    """Two prompts: one answered (one token in, three out), one never (forty bytes: ten tokens)."""

    async def script(request: Request, wire: Wire) -> None:
        if request.document["messages"][0]["content"] == "word":
            await good_server(request, wire)
        else:
            await upstream.gate().wait()

    upstream.on("up", script)
    asked = body("quick-chat", prompt=["word", "x" * 36])
    assert gateway.send(asked, key=PARTLY.secret).status == 504
    # One and nine tokens are probably in the prompts together; half of them are unknown.
    assert settled(books, PARTLY) == (1 + 3) + 5
