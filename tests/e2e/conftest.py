"""The fixtures of all end-to-end tests, each written once.

`upstream`, `redis_server`, `redis7`, `redis8` and a room's `gateway` live as long as the process; a
test of a room (a folder here) that needs others for itself starts them over `server`.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.cache.stores import server_of
from tests.e2e.cache.configuration import configuration as cache_configuration
from tests.e2e.cache.herd import Herd
from tests.e2e.cache.replicas import LEASE, Shared, all_well, replicas
from tests.e2e.families.configuration import configuration as families_configuration
from tests.e2e.limits.books import Books
from tests.e2e.limits.fleet import fleet
from tests.e2e.portkey.configuration import configuration as portkey_configuration
from tests.e2e.providers.configuration import configuration as providers_configuration
from tests.e2e.semantic.configuration import configuration as semantic_configuration
from tests.e2e.wire.configuration import configuration as wire_configuration
from tests.e2e.wire.configuration import strict
from tests.harness.certificates import self_signed
from tests.harness.gateway import Gateway, free_port, open_gateway
from tests.harness.prompts import unseen, unseen_name
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

# The stores that a room's gateway runs over; each test of it once over each of them.
STORES = {"cache": ["memory", "redis_server"], "semantic": ["memory", "redis7", "redis8"]}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marks = metafunc.definition.iter_markers("parametrize")
    chosen = any(mark.args[0] == "store_url" for mark in marks)
    stores = STORES.get(metafunc.definition.path.parent.name)
    if stores and not chosen and "store_url" in metafunc.fixturenames:
        metafunc.parametrize("store_url", stores, indirect=True, scope="session")


# Upstreams.


@pytest.fixture(scope="session")
def the_upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(the_upstream: Upstream) -> Iterator[Upstream]:
    """The upstream of nearly everybody, as good as new."""
    the_upstream.reset()
    yield the_upstream
    the_upstream.reset()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls") / "upstream.pem")


@pytest.fixture(scope="session")
def the_tls_upstream(certificate: Path) -> Iterator[Upstream]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Upstream(context) as upstream:
        yield upstream


@pytest.fixture
def tls_upstream(the_tls_upstream: Upstream) -> Iterator[Upstream]:
    the_tls_upstream.reset()
    yield the_tls_upstream
    the_tls_upstream.reset()


@pytest.fixture(scope="session")
def closed_port() -> int:
    """A port that nobody listens on."""
    return free_port()


# Stores.


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The newest Redis, for tests that leave it alone."""
    with RedisServer.start() as server:
        yield server


@pytest.fixture(scope="session")
def redis7() -> Iterator[RedisServer]:
    with server_of("7") as server:
        yield server


@pytest.fixture(scope="session")
def redis8() -> Iterator[RedisServer]:
    with server_of("8") as server:
        yield server


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A Redis for one module alone, whose gateways are counted in it, and who may hurt it."""
    with RedisServer.start() as server:
        yield server


@pytest.fixture(scope="module")
def books(server: RedisServer) -> Iterator[Books]:
    """What stands in the module's Redis."""
    with Books(server.port) as books:
        yield books


@pytest.fixture(scope="module")
def shared(server: RedisServer) -> Iterator[Shared]:
    """What stands there about flights."""
    with Shared(server) as shared:
        yield shared


# Gateways.


@pytest.fixture(scope="session")
def store_url(request: pytest.FixtureRequest) -> str:
    """The store of a room's gateway."""
    store = getattr(request, "param", "memory")
    if store == "memory":
        return "memory://"
    server: RedisServer = request.getfixturevalue(store)
    return server.url


@pytest.fixture(scope="session")
def running(
    request: pytest.FixtureRequest, the_upstream: Upstream
) -> Iterator[Callable[[str, str], Gateway]]:
    """Starts the gateway of a room over a store for the first who asks, and keeps it for all."""

    def wire(_: str) -> Gateway:
        tls: Upstream = request.getfixturevalue("the_tls_upstream")
        port = request.getfixturevalue("closed_port")
        file = request.getfixturevalue("certificate")
        secrets = [the_upstream.address, tls.address, f"127.0.0.1:{port}"]
        return Gateway(wire_configuration(the_upstream, tls, file, port), secrets)

    def over(configuration: Callable[[str, Upstream], dict[str, Any]]) -> Callable[[str], Gateway]:
        return lambda url: open_gateway(configuration(url, the_upstream), the_upstream)

    rooms = {
        "wire": wire,
        "cache": over(cache_configuration),
        "families": over(families_configuration),
        "semantic": over(semantic_configuration),
        "providers": over(providers_configuration),
        "portkey": over(portkey_configuration),
    }
    with ExitStack() as stack:
        yield cache(lambda room, url: stack.enter_context(rooms[room](url)))


@pytest.fixture
def gateway(
    request: pytest.FixtureRequest, running: Callable[[str, str], Gateway], store_url: str
) -> Iterator[Gateway]:
    """The room's gateway, or the first of a module's fleet.

    A test fails where anything private stood in what it wrote.
    """
    if hasattr(request.module, "FLEET"):
        [gateway, *_] = request.getfixturevalue("gateways")
    else:
        gateway = running(request.path.parent.name, store_url)
    yield gateway
    gateway.check_output()


@pytest.fixture(scope="module")
def gateways(
    request: pytest.FixtureRequest, server: RedisServer, the_upstream: Upstream
) -> Iterator[list[Gateway]]:
    """The fleet of a module: the callers of its PLANS, and as many as its FLEET says."""
    module = request.module
    with fleet(module.PLANS, server.port, upstream=the_upstream, **module.FLEET) as gateways:
        yield gateways


@pytest.fixture(scope="module")
def the_replicas(shared: Shared, the_upstream: Upstream) -> Iterator[list[Gateway]]:
    """Two replicas of two workers, who all hear from each other."""
    with replicas(shared.url, the_upstream) as gateways:
        shared.all_listen(4)
        yield gateways


@pytest.fixture
def well_replicas(the_replicas: list[Gateway], shared: Shared) -> Iterator[list[Gateway]]:
    """The replicas, well before and after; no flight is left behind."""
    all_well(the_replicas, shared)
    yield the_replicas
    all_well(the_replicas, shared)
    eventually(lambda: shared.flights, [], within=LEASE)


@pytest.fixture(scope="session")
def strict_gateway(the_upstream: Upstream) -> Iterator[Gateway]:
    with open_gateway(strict(the_upstream), the_upstream) as gateway:
        yield gateway


# Those who ask.


@pytest.fixture
def prompt() -> str:
    """A prompt that nobody asked before."""
    return unseen()


@pytest.fixture
def space() -> dict[str, str]:
    """A namespace where nothing was asked before."""
    return {"x-headgate-cache-namespace": f"n-{unseen_name()}"}


@pytest.fixture
def herd() -> Iterator[Herd]:
    with Herd() as herd:
        yield herd
