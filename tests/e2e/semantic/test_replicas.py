"""Replicas share meanings exactly where they ask alike."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from tests.e2e.semantic.asking import (
    PARAPHRASE,
    QUESTION,
    STRESSED,
    ask,
    only,
    served,
    teach,
)
from tests.e2e.semantic.configuration import configuration, model
from tests.e2e.semantic.test_apart import nothing
from tests.harness.gateway import Gateway, open_gateway
from tests.harness.good_server import text_of
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream

# Replicas that are configured otherwise.


@pytest.fixture(scope="module")
def others(redis8: RedisServer, the_upstream: Upstream) -> Iterator[dict[str, Gateway]]:
    """Gateways on one store: what `tier1` is differs between them."""
    changed = {
        "mine": model(),
        "replica": model(),
        "an encoder": model(encoder="local", threshold=0.7),
        "another target": model("up-2"),
    }

    def opened(one: dict[str, Any]) -> Gateway:
        settings = configuration(redis8.url, the_upstream)
        settings["models"] = {"tier1": one}
        return open_gateway(settings, the_upstream)

    with ExitStack() as stack, ThreadPoolExecutor(len(changed)) as pool:
        gateways = list(pool.map(stack.enter_context, map(opened, changed.values())))
        yield dict(zip(changed, gateways, strict=True))


def test_replicas_share_meanings(
    others: dict[str, Gateway], upstream: Upstream, space: dict[str, str]
) -> None:
    teach(others["mine"], space)
    reply = ask(others["replica"], PARAPHRASE, space)
    assert (served(reply), reply.texts) == ("tier 1", [text_of(QUESTION)])
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("name", ["an encoder", "another target"])
def test_replicas_that_ask_otherwise_do_not(
    others: dict[str, Gateway], upstream: Upstream, space: dict[str, str], name: str
) -> None:
    teach(others["mine"], space)
    nothing(others[name], space)
    reply = ask(others[name], STRESSED, space)
    assert (served(reply), reply.texts) == (None, [text_of(STRESSED)])
    mine = only(others["mine"], PARAPHRASE, space)
    assert (served(mine), mine.texts) == ("tier 1", [text_of(QUESTION)])
