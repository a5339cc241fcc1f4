"""A budget never pays more than it has, whatever names a body says its limit by."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.limits.books import DOLLAR, Account, Books
from tests.e2e.limits.crowd import Answer, shoot, tally, volley
from tests.e2e.limits.fleet import IDS, Caller, Plans
from tests.harness.configuration import PRICE, openai, target
from tests.harness.exchange import Request, Wire
from tests.harness.gateway import Gateway
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

PLANS = Plans()
CONTEXT = 1_000_000  # tokens that the upstream generates where nothing limits it
IMAGE = 48_169  # what gpt-4o-mini takes for its largest image
PICTURE = "data:image/jpeg;base64," + base64.b64encode(bytes(650_000)).decode()


@pytest.fixture(scope="module")
def gateway(server: RedisServer, the_upstream: Upstream) -> Iterator[Gateway]:
    url = f"redis://127.0.0.1:{server.port}/0"
    settings = PLANS.configuration(url, the_upstream, timeout="1s")
    settings["providers"] |= {
        "strict": openai(the_upstream.base_url, forward_members="known"),
        "few": openai(the_upstream.base_url, forward_members=["min_p"]),
        "nothing-is-all": openai(the_upstream.base_url, zero_max_tokens="refuse"),
        "one-each": openai(the_upstream.base_url, unsupported=["n"]),
    }
    sights = {"input_per_million": 8, "output_per_million": 8}
    settings["models"] |= {
        "chat": target("up", "up", completions="chat", price=PRICE),
        "eyes": target("up", "up", completions="chat", price=sights),
        "keen": target(
            "up", "up", completions="chat", price=sights, part_tokens={"image_low": 100_000}
        ),
        "capped": target("up", "up", max_output_tokens=50, price=PRICE),
        "strict": target("strict", "up", price=PRICE),
        "few": target("few", "up", price=PRICE),
        "nothing-is-all": target("nothing-is-all", "up", price=PRICE),
        "one-each": target("one-each", "up", completions="chat", price=PRICE),
        "wide": target("one-each", "up", completions="chat", price=PRICE, max_calls=5000),
    }
    settings["keys"] += [
        {"id": "short", "tenant": "free", "secret": SHORT_KEY, "max_output_tokens": 20}
    ]
    with Gateway(settings, [*PLANS.secrets, SHORT_KEY]) as gateway:
        yield gateway


SHORT_KEY = "hg-short-0123456789abcdef"
FREE = PLANS.caller("free")


async def llama(request: Request, wire: Wire) -> None:
    """Generates as much as a body asks for by anybody's rules: `n_predict` before `max_tokens`, -1
    for no limit, numbers as text, names in any case, and inside objects too."""
    document = request.document
    members = _flat(document)
    read = ("npredict", "numpredict", "maxnewtokens", "maxcompletiontokens", "maxtokens")
    asked = [members[name] for name in read if members.get(name) is not None]
    tokens = int(float(asked[0])) if asked else CONTEXT
    tokens = CONTEXT if tokens < 0 else tokens
    beams = ("n", "bestof", "ncmpl", "numbeams", "numreturnsequences")
    tokens *= max([int(members.get(name) or 1) for name in beams])
    prompt = document.get("prompt")
    single = not isinstance(prompt, list) or isinstance(prompt[0], int)
    tokens *= 1 if single else len(prompt)
    images = request.body.count(b'"image_url":{')
    usage = {"prompt_tokens": 10 + images * IMAGE, "completion_tokens": tokens, "total_tokens": 0}
    choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": "length"}
    choice |= {"text": "x"} if "prompt" in document else {"message": {"content": "x"}}
    choices = [choice | {"index": index} for index in range(int(document.get("n") or 1))]
    await wire.answer(
        {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "up"}
        | {"choices": choices, "usage": usage}
    )


def _flat(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, dict):
            found |= _flat(value)
        else:
            found[name.casefold().replace("_", "").replace("-", "")] = value
    return found


# A dollar.

ATTACKS: dict[str, dict[str, Any]] = {
    "unlimited": {"n_predict": -1},
    "unlimited-beside": {"n_predict": -1, "max_tokens": 1},
    "float": {"n_predict": 20000.0},
    "text": {"n_predict": "20000"},
    "new-tokens-text": {"max_new_tokens": "20000"},
    "new-tokens-float": {"max_new_tokens": 20000.0},
    "new-tokens-beside": {"max_new_tokens": 20000, "max_tokens": 5},
    "chats-name": {"max_completion_tokens": 20000},
    "chats-name-beside": {"max_completion_tokens": 20000, "max_tokens": 5},
    "nested": {"options": {"num_predict": 20000}, "max_tokens": 5},
    "parameters": {"parameters": {"max_new_tokens": 20000}},
    "case": {"max_tokens": 5, "Max_Tokens": 20000},
    "camel": {"maxTokens": 20000},
    "answers": {"n_cmpl": 1000, "max_tokens": 5},
    "beams": {"num_beams": 1000, "max_tokens": 5},
    "case-of-n": {"N": 1000, "max_tokens": 5},
    "none-said": {},
    "null": {"max_tokens": None, "n_predict": None},
    "honest": {"max_tokens": 100, "n": 2},
}
ATTACKERS = {
    (name, model): PLANS.caller(f"attack-{name}-{model}", budget={"usd": 1})
    for name in ATTACKS
    for model in ("up", "chat")
}


@pytest.mark.parametrize("model", ["up", "chat"])
@pytest.mark.parametrize("name", ATTACKS)
def test_a_dollar_never_pays_more_than_a_dollar(
    gateway: Gateway, upstream: Upstream, books: Books, name: str, model: str
) -> None:
    upstream.on("up", llama)
    caller = ATTACKERS[name, model]
    prompt = IDS if model == "up" else "0123456789"
    body = {"model": model, "prompt": prompt} | ATTACKS[name]
    answers = shoot([gateway], caller.secret, body, 12)
    assert "no answer" not in tally(answers)
    assert {answer.status for answer in answers} <= {200, 400, 429}
    settled(books, caller)
    assert books.account(caller.tenant, f"key:{caller.id}").spent <= DOLLAR


def settled(books: Books, caller: Caller) -> None:
    eventually(lambda: books.account(caller.tenant, f"key:{caller.id}").held, 0)


PLAIN = PLANS.caller("plain")
COUNTED = PLANS.caller("bound-counted", {"tokens_per_minute": 100_000})
PACED = PLANS.caller("paced", {"requests_per_minute": 1000})


@pytest.mark.parametrize("caller", [PLAIN, PACED], ids=lambda caller: caller.id)
def test_without_tokens_or_money_a_body_goes_through_untouched(
    gateway: Gateway, upstream: Upstream, caller: Caller
) -> None:
    body = b'{"model":"up","prompt":"x","n_predict":-1,"options":{"num_predict":"9"},"N":2}'
    reply = gateway.send(body, key=caller.secret)
    assert reply.status == 200
    assert upstream.request.body == body


def test_a_limit_of_tokens_binds_as_a_budget_does(gateway: Gateway, upstream: Upstream) -> None:
    body = {"model": "up", "prompt": "x"}
    assert gateway.send(body | {"n_predict": 30}, key=COUNTED.secret).status == 200
    assert upstream.request.document == {"model": "up", "prompt": "x", "max_tokens": 30}
    refused = gateway.send(body | {"n_predict": -1}, key=COUNTED.secret)
    assert (refused.status, refused.error["param"]) == (400, "n_predict")
    upstream.reset()
    assert gateway.send(body, key=COUNTED.secret).status == 200
    assert upstream.request.document["max_tokens"] == 16


ZERO = PLANS.caller("zero", budget={"usd": 1})


def test_zero_can_be_refused_where_it_means_no_limit(gateway: Gateway, upstream: Upstream) -> None:
    body = {"model": "nothing-is-all", "prompt": IDS, "max_tokens": 0, "echo": True}
    reply = gateway.send(body, key=ZERO.secret)
    assert (reply.status, reply.error["param"]) == (400, "max_tokens")
    assert gateway.send(body | {"model": "up"}, key=ZERO.secret).status == 200


# Images.

SEER = PLANS.caller("seer", budget={"usd": 1})
WATCHED = PLANS.caller("watched", {"tokens_per_minute": 1, "token_burst": 260_000})


def seen(model: str = "eyes", count: int = 1, **image: str) -> dict[str, Any]:
    parts = [{"type": "image_url", "image_url": {"url": "https://h/i"} | image}] * count
    return {"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": parts}]}


def test_a_dollar_of_images_is_a_dollar(gateway: Gateway, upstream: Upstream, books: Books) -> None:
    upstream.on("up", llama)
    answers = shoot([gateway], SEER.secret, seen(), 10)
    assert set(tally(answers)) == {"200", "429 budget_exceeded"}
    settled(books, SEER)
    spent = books.account("seer", "key:seer").spent
    assert 0 < spent <= DOLLAR


def test_a_large_image_reserves_the_number_that_is_set(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.on("up", llama)
    reply = gateway.send(seen(url=PICTURE), key=WATCHED.secret)
    assert reply.status == 200
    assert int(reply.headers["x-ratelimit-remaining-tokens"]) == 260_000 - 50_000 - 5
    # One hundred thousand for an image in low detail, as the model is configured.
    reply = gateway.send(seen("keen", detail="low"), key=WATCHED.secret)
    taken = IMAGE + 10 + 5
    remaining = int(reply.headers["x-ratelimit-remaining-tokens"])
    assert remaining == 260_000 - taken - 100_000 - 5


# Caps.


@pytest.mark.parametrize(
    ("secret", "model", "cap"),
    [(SHORT_KEY, "up", 20), (FREE.secret, "capped", 50), (SHORT_KEY, "capped", 20)],
    ids=["key", "model", "both"],
)
def test_a_cap_is_named_and_kept(
    gateway: Gateway, upstream: Upstream, secret: str, model: str, cap: int
) -> None:
    body = {"model": model, "prompt": "x"}
    for name in ("max_tokens", "n_predict"):
        reply = gateway.send(body | {name: cap + 1}, key=secret)
        assert (reply.status, reply.error["param"]) == (400, name)
        assert f"at most {cap}" in reply.error["message"]
    assert upstream.requests == []
    assert gateway.send(body | {"n_predict": cap}, key=secret).status == 200
    assert upstream.request.document == {"model": "up", "prompt": "x", "max_tokens": cap}


# Members.


def test_only_the_members_that_are_named_are_forwarded(
    gateway: Gateway, upstream: Upstream
) -> None:
    body = {"prompt": "x", "temperature": 0.5}
    reply = gateway.send(body | {"model": "strict", "min_p": 0.1, "top_k": 1}, key=FREE.secret)
    assert (reply.status, reply.error["code"]) == (400, "unsupported_parameter")
    assert [detail["param"] for detail in reply.error["details"]] == ["min_p", "top_k"]
    reply = gateway.send(body | {"model": "few", "min_p": 0.1, "top_k": 1}, key=FREE.secret)
    assert reply.error["param"] == "top_k"
    assert gateway.send(body | {"model": "few", "min_p": 0.1}, key=FREE.secret).status == 200
    assert gateway.send(body | {"model": "strict"}, key=FREE.secret).status == 200


# Fan-out.

CALLER = PLANS.caller("calls", {"requests_per_minute": 1, "request_burst": 100})


@pytest.mark.parametrize(
    ("prompts", "n", "calls"), [(65, 1, 65), (33, 2, 66), (1, 65, 65), (2048, 128, 262_144)]
)
def test_too_many_calls_are_refused_before_any_is_made(
    gateway: Gateway, upstream: Upstream, prompts: int, n: int, calls: int
) -> None:
    body = {"model": "one-each", "prompt": ["x"] * prompts, "n": n}
    reply = gateway.send(body, key=FREE.secret)
    assert (reply.status, reply.error["code"]) == (400, "too_many_calls")
    assert reply.error["type"] == "invalid_request_error"
    assert f"{calls} upstream calls" in reply.error["message"]
    assert "`max_calls`" in reply.error["message"]
    assert upstream.requests == []


def test_as_many_calls_as_a_model_allows_are_made(gateway: Gateway, upstream: Upstream) -> None:
    reply = gateway.send({"model": "one-each", "prompt": ["x"] * 32, "n": 2}, key=FREE.secret)
    assert (reply.status, len(reply.texts)) == (200, 64)
    assert len(upstream.requests) == 64
    upstream.reset()
    reply = gateway.send({"model": "wide", "prompt": ["x"] * 70}, key=FREE.secret)
    assert (reply.status, len(upstream.requests)) == (200, 70)


def test_a_native_batch_is_one_call(gateway: Gateway, upstream: Upstream) -> None:
    reply = gateway.send({"model": "up", "prompt": ["x"] * 2048}, key=CALLER.secret)
    assert (reply.status, len(upstream.requests)) == (200, 1)
    assert reply.headers["x-ratelimit-remaining-requests"] == "99"


PAYER = PLANS.caller("payer", {"requests_per_minute": 1, "request_burst": 100})


def test_each_call_takes_a_request(gateway: Gateway, upstream: Upstream) -> None:
    async def ask(prompts: int, n: int) -> Answer:
        body = {"model": "one-each", "prompt": ["x"] * prompts, "n": n}
        [answer] = await volley([gateway], PAYER.secret, [body])
        return answer

    first = asyncio.run(ask(20, 3))
    assert (first.status, first.headers["x-ratelimit-remaining-requests"]) == (200, "40")
    assert asyncio.run(ask(41, 1)).status == 429
    second = asyncio.run(ask(40, 1))
    assert (second.status, second.headers["x-ratelimit-remaining-requests"]) == (200, "0")


def test_nothing_is_held_when_all_is_over(books: Books) -> None:
    for caller in ATTACKERS.values():
        account = books.account(caller.tenant, f"key:{caller.id}")
        assert account == Account(account.spent, 0)
