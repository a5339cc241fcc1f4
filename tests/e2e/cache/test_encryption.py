"""Nothing that was asked or answered stands in the store in clear, where there are keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cache.stores import server_of
from tests.e2e.cache.asking import ONLY_CACHED, ask, how, warm
from tests.e2e.cache.configuration import configuration
from tests.e2e.semantic.asking import QUESTION, STRESSED
from tests.e2e.semantic.configuration import remote
from tests.harness.configuration import NOT_VERIFIED, PRICE, target
from tests.harness.gateway import Gateway, open_gateway
from tests.harness.good_server import text_of
from tests.harness.prompts import PRIVATE, PROMPT
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

ONE, TWO = "11" * 32, "22" * 32


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with server_of("8") as server:  # it has vectors
        yield server


def settings(server: RedisServer, upstream: Upstream, *keys: str) -> dict[str, Any]:
    made = configuration(server.url, upstream)
    made["store"] |= {"encryption_keys": list(keys), "timeout": "500ms"}
    semantic = {"enabled": True, "encoder": "same", "verify": NOT_VERIFIED}
    made["encoders"] = {"same": remote("embed-same")}
    made["models"]["by-meaning"] = target("main", "up", price=PRICE, cache={"semantic": semantic})
    return made


def everything_kept(server: RedisServer) -> str:
    """Whatever a thief of the store would have."""
    text = []
    for key in server.cli("KEYS", "*").splitlines():
        text.append(key)
        kind = server.cli("TYPE", key)
        if kind == "vectorset":
            elements = server.cli("VRANDMEMBER", key, 100).splitlines()
            text += [server.cli("VGETATTR", key, element) for element in elements]
        elif kind == "string":
            text.append(server.cli("EVAL", TO_HEX, 1, key))
    return "\n".join(text)


TO_HEX = """
local out = {}
for c in redis.call('GET', KEYS[1]):gmatch('.') do out[#out + 1] = string.format('%02x', c:byte()) end
return table.concat(out)"""


def test_a_thief_of_the_store_reads_no_prompt_and_no_answer(
    server: RedisServer, the_upstream: Upstream, upstream: Upstream, prompt: str
) -> None:
    with open_gateway(settings(server, the_upstream, ONE), the_upstream) as gateway:
        warm(gateway, prompt)
        warm(gateway, QUESTION, model="by-meaning", temperature=0)

        def by_meaning() -> bool:
            fields = {"model": "by-meaning", "temperature": 0}
            return ask(gateway, STRESSED, headers=ONLY_CACHED, **fields).status == 200

        eventually(by_meaning)
        assert ":near:" in server.cli("KEYS", "*")
        reply = ask(gateway, prompt)
        assert (how(reply), reply.texts) == ("hit", [text_of(prompt)])
    found = everything_kept(server)
    assert ":answer:" in found
    for word in (PRIVATE, PROMPT, "Re <", "cmpl-7"):
        assert word not in found
        assert word.encode().hex() not in found


def test_keys_are_changed_while_answers_stay(
    server: RedisServer, the_upstream: Upstream, upstream: Upstream, prompt: str
) -> None:
    def hit(gateway: Gateway) -> str | None:
        return how(ask(gateway, prompt))

    with open_gateway(settings(server, the_upstream, ONE), the_upstream) as gateway:
        warm(gateway, prompt)
    with open_gateway(settings(server, the_upstream, TWO, ONE), the_upstream) as gateway:
        assert hit(gateway) == "hit"
    with open_gateway(settings(server, the_upstream, TWO), the_upstream) as gateway:
        assert hit(gateway) == "miss"


def test_an_entry_copied_to_another_name_is_a_miss(
    server: RedisServer, the_upstream: Upstream, upstream: Upstream, prompt: str
) -> None:
    plain = configuration(server.url, the_upstream)
    for made in (plain, settings(server, the_upstream, ONE)):
        server.cli("FLUSHALL")
        with open_gateway(made, the_upstream) as gateway:
            warm(gateway, prompt)
            [first] = server.cli("KEYS", "*:answer:*").splitlines()
            warm(gateway, prompt + " other")
            [other] = set(server.cli("KEYS", "*:answer:*").splitlines()) - {first}
            server.cli("COPY", first, other, "REPLACE")
            reply = ask(gateway, prompt + " other")
            assert (how(reply), reply.texts) == ("miss", [text_of(prompt + " other")])
            assert how(ask(gateway, prompt)) == "hit"
