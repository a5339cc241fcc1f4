"""One Redis for the tests that leave it alone; those that hurt it start their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.limits.fleet import Books
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def books(redis_server: RedisServer) -> Iterator[Books]:
    books = Books(redis_server.port)
    yield books
    books.close()


@pytest.fixture(scope="session")
def limits_upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(limits_upstream: Upstream) -> Iterator[Upstream]:
    limits_upstream.reset()
    yield limits_upstream
    limits_upstream.reset()
