"""Two gateways behind HAProxy: with the shipped file, and with one that hides no mistake of ours."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from signal import SIGTERM
from typing import Any

import httpx
import pytest

from tests.harness.callers import Callers, Streams, post
from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway, free_port
from tests.harness.haproxy import SHIPPED, HAProxy
from tests.harness.raw_connection import raw_request
from tests.harness.upstream import Upstream
from tests.harness.waiting import PATIENCE

REQUESTS = 1200  # through each of two balancers
ROLLING_PATIENCE = 60.0  # a restart takes the delay of 5 s, the streams' rest, and a start
TOKENS_PER_SECOND = 20
LONG = 130  # tokens of a stream that outlives the shutdown delay

# Nothing is tried twice, so that whatever a replica loses is seen.
PLAIN = """\
global
    log stderr format raw local0 notice
defaults
    mode http
    log global
    retries 0
    timeout connect 2s
    timeout client 60s
    timeout server 60s
frontend callers
    bind "${HEADGATE_BIND}"
    default_backend headgate
backend headgate
    option httpchk GET /health/ready
    default-server check inter 1s
    server one "${HEADGATE_1}"
    server two "${HEADGATE_2}"
"""

# No `server` section: what is shown here holds with the defaults.
CONFIGURATION: dict[str, Any] = {
    "log": {"format": "json"},
    "providers": {
        "fast": {"kind": "simulator"},
        "slow": {"kind": "simulator", "tokens_per_second": TOKENS_PER_SECOND},
    },
    "models": {
        name: {"targets": [{"provider": name, "model": "simulator-1"}]} for name in ("fast", "slow")
    },
    "tenants": {"acme": {}},
    "keys": [{"id": "all", "tenant": "acme", "secret": KEY}],
}


def replica(port: int, provider: str = "http://127.0.0.1:1/v1") -> Gateway:
    held = {"kind": "openai", "base_url": provider}
    target = {"provider": "held", "model": "held"}
    gateway = Gateway(
        CONFIGURATION
        | {"providers": CONFIGURATION["providers"] | {"held": held}}
        | {"models": CONFIGURATION["models"] | {"held": {"targets": [target]}}}
    )
    gateway.port = port
    return gateway


def wait_until_served(gateway: Gateway, balancers: int) -> None:
    """Until the balancers send requests here again."""
    end = time.monotonic() + ROLLING_PATIENCE
    while sum('"alias":"fast"' in line for line in gateway.output) < 4 * balancers:
        assert time.monotonic() < end, "no balancer sent a request"
        time.sleep(0.05)  # polling another program


@pytest.fixture(scope="module")
def addresses() -> dict[str, str]:
    ports = {f"HEADGATE_{number}": free_port() for number in (1, 2, 3)}
    return {name: f"127.0.0.1:{port}" for name, port in ports.items()}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("haproxy") / "plain.cfg"
    file.write_text(PLAIN)
    return file


@contextmanager
def replicas(addresses: dict[str, str]) -> Iterator[list[Gateway]]:
    with ExitStack() as stack:
        ports = [int(addresses[f"HEADGATE_{number}"].split(":")[1]) for number in (1, 2)]
        running = [replica(port) for port in ports]
        for gateway in running:
            gateway.__enter__()
        stack.callback(lambda: [gateway.__exit__() for gateway in running])
        yield running


def test_a_rolling_restart_fails_nobody(addresses: dict[str, str], plain: Path) -> None:
    with ExitStack() as stack:
        running = stack.enter_context(replicas(addresses))
        balancers = [stack.enter_context(HAProxy(file, addresses)) for file in (SHIPPED, plain)]
        everybody = [Callers(balancer.url, REQUESTS) for balancer in balancers]
        for callers in everybody:
            callers.start()
        streams = []
        for at, gateway in enumerate(running):
            streams.append(Streams([b.url for b in balancers for _ in range(4)], LONG))
            gateway.signal(SIGTERM)
            assert gateway.wait_for_exit(ROLLING_PATIENCE) == 0
            gateway.__exit__()
            running[at] = replica(gateway.port)
            running[at].__enter__()
            wait_until_served(running[at], len(balancers))
        ends = [callers.finish() for callers in everybody]
        print(f"rolling restart: shipped file {dict(ends[0])}, without retries {dict(ends[1])}")
        assert [set(end) for end in ends] == [{"200"}, {"200"}], ends
        assert all(end["200"] >= REQUESTS for end in ends)
        assert [end for some in streams for end in some.finish()] == ["data: [DONE]"] * 16


@pytest.fixture(scope="module")
def gateway(addresses: dict[str, str]) -> Iterator[Gateway]:
    with replica(int(addresses["HEADGATE_1"].split(":")[1])) as running:
        yield running


def shipped(folder: Path, *changes: tuple[str, str]) -> Path:
    """The shipped file with shorter times."""
    text = SHIPPED.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file = folder / "haproxy.cfg"
    file.write_text(text)
    return file


def wait_for_service(balancer: HAProxy) -> None:
    end = time.monotonic() + PATIENCE
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        while True:
            with suppress(httpx.HTTPError):  # a connection over the cap is closed
                if post(client, balancer.url).status_code == 200:
                    return
            assert time.monotonic() < end, balancer.said()
            time.sleep(0.05)  # polling another program


def answered(connection: socket.socket, prelude: bytes = b"") -> bool:
    """Whether the balancer takes requests on this connection; it stays open."""
    connection.settimeout(PATIENCE)
    with suppress(ConnectionError):
        connection.sendall(prelude + b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
        return b" 404 " in connection.recv(4096).partition(b"\r\n")[0]
    return False


def closed_by_peer(connection: socket.socket) -> bytes:
    """What came until the peer closed; TimeoutError where it does not."""
    connection.settimeout(PATIENCE)
    said = b""
    try:
        while data := connection.recv(4096):
            said += data
    except ConnectionResetError:
        pass
    return said


def test_one_address_gets_so_many_connections(gateway: Gateway, addresses: dict[str, str]) -> None:
    few = addresses | {"HEADGATE_CONNECTIONS_PER_ADDRESS": "8"}
    with ExitStack() as stack:
        balancer = stack.enter_context(HAProxy(SHIPPED, few))
        wait_for_service(balancer)
        place = ("127.0.0.1", balancer.port)
        held = [stack.enter_context(socket.create_connection(place)) for _ in range(12)]
        taken = sum(answered(connection) for connection in held)
        # Our first connections, to see that it runs, may count for a moment longer.
        assert 6 <= taken <= 8
        for connection in held:
            connection.close()
        wait_for_service(balancer)


def test_one_address_gets_so_many_requests(gateway: Gateway, addresses: dict[str, str]) -> None:
    few = addresses | {"HEADGATE_REQUESTS_PER_ADDRESS": "40"}
    with HAProxy(SHIPPED, few) as balancer, httpx.Client(trust_env=False) as client:
        answers = [client.get(f"{balancer.url}/v1/nothing") for _ in range(41)]
        assert 429 not in {answer.status_code for answer in answers[:35]}
        assert answers[-1].status_code == 429
        assert answers[-1].json()["error"]["code"] == "address_rate_limited"
        assert answers[-1].headers["retry-after"] == "10"


def test_callers_who_never_speak_or_drip_are_ended(
    gateway: Gateway, addresses: dict[str, str], tmp_path: Path
) -> None:
    file = shipped(tmp_path, ("timeout http-request 10s", "timeout http-request 1s"))
    with HAProxy(file, addresses) as balancer:
        place = ("127.0.0.1", balancer.port)
        with socket.create_connection(place) as silent, socket.create_connection(place) as slow:
            slow.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\n")
            closed_by_peer(silent)
            assert b" 408 " in closed_by_peer(slow).partition(b"\r\n")[0]


def test_a_caller_who_leaves_is_noticed_through_the_balancer(addresses: dict[str, str]) -> None:
    with Upstream() as upstream, ExitStack() as stack:
        never = upstream.gate()

        async def script(request: Any, wire: Any) -> None:
            await never.wait()

        upstream.on("held", script)
        port = free_port()
        stack.enter_context(replica(port, provider=upstream.base_url))
        here = {"HEADGATE_1": f"127.0.0.1:{port}"}
        balancer = stack.enter_context(HAProxy(SHIPPED, addresses | here))
        wait_for_service(balancer)
        body = b'{"model":"held","prompt":"p"}'
        with socket.create_connection(("127.0.0.1", balancer.port)) as caller:
            caller.sendall(raw_request(body))
            [request] = upstream.wait_for(1)
        assert request.connection.closed.wait(PATIENCE), "the upstream call was not cancelled"


def test_the_inside_is_not_shown(gateway: Gateway, addresses: dict[str, str]) -> None:
    with HAProxy(SHIPPED, addresses) as balancer, httpx.Client(trust_env=False) as client:
        wait_for_service(balancer)
        for path in ("/metrics", "/health/ready", "/health/live", "/health"):
            assert client.get(balancer.url + path).status_code == 404


def test_addresses_come_through_the_proxy_protocol(
    gateway: Gateway, addresses: dict[str, str], tmp_path: Path
) -> None:
    file = shipped(tmp_path, ('bind "${HEADGATE_BIND}"', 'bind "${HEADGATE_BIND}" accept-proxy'))
    few = addresses | {"HEADGATE_CONNECTIONS_PER_ADDRESS": "2"}
    with HAProxy(file, few) as balancer, ExitStack() as stack:
        place = ("127.0.0.1", balancer.port)
        first, second, third, other = (
            stack.enter_context(socket.create_connection(place)) for _ in range(4)
        )
        one, another = (
            f"PROXY TCP4 {address} 192.0.2.9 40000 80\r\n".encode()
            for address in ("203.0.113.1", "203.0.113.2")
        )
        assert answered(first, one)
        assert answered(second, one)
        assert not answered(third, one)
        assert answered(other, another)
