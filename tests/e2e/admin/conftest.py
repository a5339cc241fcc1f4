"""Two workers over a real Redis with a management listener, and those who operate them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.admin.operators import (
    CALLER,
    OPS,
    READER,
    TENANT_OPS,
    Operator,
    configuration,
    operators,
)
from tests.harness.gateway import Gateway
from tests.harness.prompts import unseen_name
from tests.harness.redis_server import RedisServer


@pytest.fixture(scope="session")
def operated(redis_server: RedisServer) -> Iterator[Gateway]:
    secrets = [OPS, READER, TENANT_OPS, CALLER]
    with Gateway(configuration(f"{redis_server.url}/7", workers=2), secrets) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def ops(operated: Gateway) -> Iterator[Operator]:
    with operators(operated, OPS) as [ops]:
        yield ops


@pytest.fixture(scope="session")
def reader(operated: Gateway) -> Iterator[Operator]:
    with operators(operated, READER) as [reader]:
        yield reader


@pytest.fixture(scope="session")
def tenant_ops(operated: Gateway) -> Iterator[Operator]:
    with operators(operated, TENANT_OPS) as [tenant_ops]:
        yield tenant_ops


@pytest.fixture
def name() -> str:
    """A name that nothing has."""
    return f"n-{unseen_name()}"
