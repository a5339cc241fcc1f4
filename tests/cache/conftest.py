"""Every contract runs over ``memory://``, Redis 7 and Redis 8."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cache.stores import of_servers, server_of
from tests.harness.redis_install import problems
from tests.harness.redis_server import RedisServer


@pytest.fixture(params=["memory", *of_servers("redis7", "redis8")])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty store of each kind."""
    if request.param == "memory":
        yield "memory://"
        return
    with server_of(request.param.removeprefix("redis")) as server:
        yield server.url


@pytest.fixture(params=of_servers("7", "8"))
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A real server of its own, to be killed, paused and filled."""
    with server_of(request.param) as server:
        yield server


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for major, reason in sorted(problems.items()):
        terminalreporter.section(f"NO REDIS {major}: its tests did not run", red=True)
        terminalreporter.line(reason)
