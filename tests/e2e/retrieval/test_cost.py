"""What retrieval adds to a request: over a thousand chunks, with the local encoder."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import pytest

from tests.e2e.retrieval.handbook import ask, configuration, fill, write_documents
from tests.harness.gateway import Gateway
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.alone

ADDED_MS = 2.0
ROUNDS = 150


@pytest.fixture(scope="module")
def gateway(
    redis8: RedisServer, the_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("handbook")
    settings = configuration(the_upstream, write_documents(folder), redis8.url)
    fill(settings, folder)
    with Gateway(settings, [the_upstream.address]) as gateway:
        yield gateway


def test_a_thousand_chunks_add_less_than_two_milliseconds(gateway: Gateway) -> None:
    took: dict[str, list[float]] = {"plain": [], "static": [], "redis": []}
    for number in range(ROUNDS):
        for model, times in took.items():
            reply = ask(gateway, f"Where does the kettle number {number} stand?", model=model)
            line = gateway.line(reply.headers["x-request-id"])
            assert (reply.status, line.get("rag")) == (200, None if model == "plain" else "used")
            times.append(line["gateway_ms"])
    plain = median(took.pop("plain"))
    added = {model: median(times) - plain for model, times in took.items()}
    for model, milliseconds in added.items():
        print(
            f"\nretrieval over 1,000 chunks, {model}: {milliseconds:.2f} ms added at the median "
            f"to {plain:.2f} ms in the gateway"
        )
    assert max(added.values()) < ADDED_MS
