"""``headgate cache purge``: gone within a second, in every replica, shelves included."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.e2e.cache.asking import ONLY_CACHED, ask, how, saying, wait_kept, warm
from tests.e2e.cache.configuration import configuration
from tests.harness.command import command
from tests.harness.credentials import COLLEAGUE, KEY, STRANGER
from tests.harness.gateway import Gateway, open_gateway
from tests.harness.prompts import unseen
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

BLUE = {"x-headgate-cache-namespace": "blue"}


@pytest.fixture(scope="module")
def the_pair(redis_server: RedisServer, the_upstream: Upstream) -> Iterator[list[Gateway]]:
    """Two gateways with shelves on one Redis."""
    shelf = {"shelf_size": "16MiB", "shelf_ttl": "60s"}
    settings = configuration(redis_server.url, the_upstream, cache=shelf)
    with ExitStack() as stack:
        yield [stack.enter_context(open_gateway(settings, the_upstream)) for _ in range(2)]


@pytest.fixture
def pair(the_pair: list[Gateway], upstream: Upstream) -> Iterator[list[Gateway]]:
    yield the_pair
    for gateway in the_pair:
        gateway.check_output()


Question = tuple[str, str, str, dict[str, str]]  # prompt, key, alias, headers


def known(gateway: Gateway, question: Question) -> bool:
    prompt, key, model, headers = question
    return ask(gateway, prompt, key, headers | ONLY_CACHED, model=model).status == 200


def questions() -> dict[str, Question]:
    return {
        "acme": (unseen(), KEY, "cached", {}),
        "acme twin": (unseen(), KEY, "twin", {}),
        "acme blue": (unseen(), KEY, "cached", BLUE),
        "acme twin blue": (unseen(), KEY, "twin", BLUE),
        "acme by key": (unseen(), COLLEAGUE, "by-key", {}),
        "other": (unseen(), STRANGER, "cached", {}),
        "other blue": (unseen(), STRANGER, "cached", BLUE),
        "shared": (unseen(), STRANGER, "everybody", {}),
    }


PURGES: dict[str, tuple[list[str], set[str]]] = {
    "everything": ([], set(questions())),
    "a tenant": (
        ["--tenant", "acme"],
        {"acme", "acme twin", "acme blue", "acme twin blue", "acme by key"},
    ),
    "a model": (["--model", "cached"], {"acme", "acme blue", "other", "other blue"}),
    "a shared model": (["--model", "everybody"], {"shared"}),
    "a namespace": (["--namespace", "blue"], {"acme blue", "acme twin blue", "other blue"}),
    "all three": (["--tenant", "acme", "--model", "cached", "--namespace", "blue"], {"acme blue"}),
    "two": (["--tenant", "acme", "--model", "twin"], {"acme twin", "acme twin blue"}),
    "another two": (["--tenant", "other", "--namespace", "blue"], {"other blue"}),
    "none of these": (["--namespace", "red"], set()),
}


@pytest.mark.parametrize("what", PURGES)
def test_what_is_purged_is_a_miss_everywhere_and_nothing_else(
    pair: list[Gateway], upstream: Upstream, what: str
) -> None:
    asked = questions()
    for prompt, key, model, headers in asked.values():
        warm(pair[0], prompt, key, headers, model=model)
        for _ in range(3):  # onto the shelves
            for gateway in pair:
                assert how(ask(gateway, prompt, key, headers, model=model)) == "hit"
    arguments, gone = PURGES[what]
    done = command("cache", "purge", "--yes", "--config", str(pair[0].file), *arguments)
    purged = time.monotonic()
    assert done.returncode == 0, done.stderr
    for gateway in pair:
        eventually(lambda g=gateway: not any(known(g, asked[name]) for name in gone), within=1)
    assert time.monotonic() - purged < 1
    for gateway in pair:
        assert {name for name, question in asked.items() if not known(gateway, question)} == gone


def test_the_next_request_is_a_miss_and_is_kept_again(
    pair: list[Gateway], upstream: Upstream, prompt: str
) -> None:
    upstream.on("up", saying("old"))
    warm(pair[0], prompt)
    for gateway in pair:
        ask(gateway, prompt)
    upstream.on("up", saying("new"))
    assert command("cache", "purge", "--yes", "--config", str(pair[0].file)).returncode == 0
    end = time.monotonic() + 1
    while ask(pair[1], prompt, headers=ONLY_CACHED).status == 200:
        assert time.monotonic() < end
    assert how(ask(pair[1], prompt)) == "miss"
    wait_kept(pair[1], prompt)
    eventually(lambda: ask(pair[0], prompt).texts == ["new"], within=1)
    for gateway in pair:
        reply = ask(gateway, prompt)
        assert (how(reply), reply.texts) == ("hit", ["new"])


def test_an_answer_under_way_is_purged_too(
    pair: list[Gateway], upstream: Upstream, prompt: str
) -> None:
    gate = upstream.gate()

    async def held(request, wire):
        await wire.begin_stream()
        choice = {"text": "old", "index": 0, "logprobs": None, "finish_reason": "stop"}
        body = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "up"}
        await wire.event(body | {"choices": [choice]})
        await gate.wait()
        await wire.event(b"[DONE]")
        await wire.end_stream()

    upstream.on("up", held)
    with pair[0].stream(model="cached", prompt=prompt) as events:
        next(events)
        assert command("cache", "purge", "--yes", "--config", str(pair[0].file)).returncode == 0
        gate.open()
        assert list(events)[-1] == b"[DONE]"
    upstream.on("up", saying("new"))
    warm(pair[0], unseen())
    for gateway in pair:
        assert ask(gateway, prompt, headers=ONLY_CACHED).status == 504


def test_a_stale_answer_is_purged_too(pair: list[Gateway], upstream: Upstream, prompt: str) -> None:
    upstream.on("up", saying("old"))
    warm(pair[0], prompt, headers={"x-headgate-cache-ttl": "1"}, model="backed")
    assert command("cache", "purge", "--yes", "--config", str(pair[0].file)).returncode == 0

    async def fail(request, wire):
        await wire.answer({"error": {"message": "no"}}, status=500)

    upstream.on("up", fail)
    eventually(lambda: ask(pair[0], prompt, model="backed").status >= 500, within=1)
    assert ask(pair[1], prompt, model="backed").status >= 500


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--tenant", "nobody"], "nobody"), (["--model", "nothing"], "nothing")],
)
def test_a_purge_of_what_is_not_there_says_so(
    pair: list[Gateway], arguments: list[str], said: str
) -> None:
    done = command("cache", "purge", "--config", str(pair[0].file), *arguments)
    assert done.returncode == 1
    assert said in done.stderr


# Shelves.


def test_an_answer_on_the_shelf_is_a_whole_hit(
    pair: list[Gateway], upstream: Upstream, prompt: str
) -> None:
    warm(pair[0], prompt)
    replies = [ask(pair[0], prompt) for _ in range(3)]
    assert {how(reply) for reply in replies} == {"hit"}
    for name in ("age", "x-headgate-cache-layer", "x-headgate-cost-usd", "x-provider", "x-model"):
        assert all(name in reply.headers for reply in replies)
    assert len({reply.body for reply in replies}) == 1
    streamed = ask(pair[0], prompt, stream=True)
    assert how(streamed) == "hit"
    assert streamed.done


def test_a_shelf_does_not_hide_a_new_answer_of_its_own_gateway(
    pair: list[Gateway], upstream: Upstream, prompt: str
) -> None:
    """``no-cache`` keeps the new answer: nobody who asks afterwards should get the old one."""
    upstream.on("up", saying("old"))
    warm(pair[0], prompt)
    assert ask(pair[0], prompt).texts == ["old"]
    upstream.on("up", saying("new"))
    assert ask(pair[0], prompt, headers={"cache-control": "no-cache"}).texts == ["new"]
    warm(pair[0], unseen())
    assert ask(pair[0], prompt).texts == ["new"]


def test_a_shelf_lets_go_in_its_time_however_often_it_is_asked(
    redis_server: RedisServer, the_upstream: Upstream, upstream: Upstream, prompt: str
) -> None:
    """Another replica's newer answer is seen after ``shelf_ttl`` at the latest."""
    shelf = {"shelf_size": "16MiB", "shelf_ttl": "500ms"}
    settings: dict[str, Any] = configuration(redis_server.url, the_upstream, cache=shelf)
    with (
        open_gateway(settings, the_upstream) as one,
        open_gateway(settings, the_upstream) as two,
    ):
        upstream.on("up", saying("old"))
        warm(one, prompt)
        assert ask(one, prompt).texts == ["old"]
        upstream.on("up", saying("new"))
        ask(two, prompt, headers={"cache-control": "no-cache"})
        eventually(lambda: ask(two, prompt).texts == ["new"], within=2)
        eventually(lambda: ask(one, prompt).texts == ["new"], within=2)


def test_an_expired_answer_is_not_served_from_a_shelf(
    pair: list[Gateway], upstream: Upstream, prompt: str
) -> None:
    ask(pair[0], prompt, headers={"x-headgate-cache-ttl": "1"})
    wait_kept(pair[0], prompt)
    assert how(ask(pair[0], prompt)) == "hit"
    eventually(lambda: ask(pair[0], prompt, headers=ONLY_CACHED).status == 504, within=3)


def test_a_shelf_keeps_tenants_apart(pair: list[Gateway], upstream: Upstream, prompt: str) -> None:
    warm(pair[0], prompt)
    assert how(ask(pair[0], prompt)) == "hit"
    assert ask(pair[0], prompt, STRANGER, ONLY_CACHED).status == 504
