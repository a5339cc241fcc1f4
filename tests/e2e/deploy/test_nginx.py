"""The nginx of docs/load-balancers.md in front of a gateway: streams, callers who leave, the inside."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.nginx import program
from tests.harness.callers import post
from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway, free_port
from tests.harness.haproxy import ROOT
from tests.harness.nginx_server import install
from tests.harness.raw_connection import raw_request
from tests.harness.upstream import Upstream
from tests.harness.waiting import PATIENCE, eventually

AROUND = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/client;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
{shown}
}}
"""


def shown() -> str:
    text = (ROOT / "docs" / "load-balancers.md").read_text()
    [block] = re.findall(r"<!-- nginx.conf.*?```nginx\n(.*?)\n```", text, re.DOTALL)
    return str(block)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    targets = {"slow": ("sim", "simulator-1"), "fast": ("sim", "simulator-1")}
    targets["held"] = ("held", "held")
    configuration: dict[str, Any] = {
        "log": {"format": "json"},
        "providers": {
            "sim": {"kind": "simulator", "tokens_per_second": 20},
            "held": {"kind": "openai", "base_url": upstream.base_url},
        },
        "models": {
            name: {"targets": [{"provider": provider, "model": model}]}
            for name, (provider, model) in targets.items()
        },
        "tenants": {"acme": {}},
        "keys": [{"id": "all", "tenant": "acme", "secret": KEY}],
    }
    with Gateway(configuration) as running:
        yield running


@pytest.fixture(scope="module")
def balancer(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    install()
    folder: Path = tmp_path_factory.mktemp("nginx")
    port, nobody = free_port(), free_port()
    block = shown()
    for old, new in ((8000, port), (8081, gateway.port), (8082, nobody)):
        assert f"127.0.0.1:{old}" in block
        block = block.replace(f"127.0.0.1:{old}", f"127.0.0.1:{new}")
    file = folder / "nginx.conf"
    file.write_text(AROUND.format(folder=folder, shown=block))
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen((program(), "-e", folder / "error.log", "-c", file)) as running:
        try:
            eventually(lambda: serves(url))
            yield url
        finally:
            running.terminate()


def serves(url: str) -> bool:
    try:
        with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
            return post(client, url).status_code == 200
    except httpx.TransportError:
        return False


def test_a_stream_comes_as_it_is_made(balancer: str) -> None:
    body = {"model": "slow", "prompt": "p", "max_tokens": 30, "stream": True}
    headers = {"authorization": f"Bearer {KEY}"}
    arrived: list[float] = []
    with httpx.stream(
        "POST", f"{balancer}/v1/completions", json=body, headers=headers, trust_env=False
    ) as response:
        for line in response.iter_lines():
            arrived += [time.monotonic()] if line else []
    assert len(arrived) > 30
    assert arrived[-1] - arrived[0] > 1.0, "all of it came at once"


def test_a_replica_that_is_not_there_costs_nobody_a_request(balancer: str) -> None:
    assert all(serves(balancer) for _ in range(8))


def test_a_caller_who_leaves_ends_the_upstream_call(balancer: str, upstream: Upstream) -> None:
    never = upstream.gate()

    async def script(request: Any, wire: Any) -> None:
        await never.wait()

    upstream.on("held", script)
    place = ("127.0.0.1", int(balancer.rpartition(":")[2]))
    with socket.create_connection(place) as caller:
        caller.sendall(raw_request(b'{"model":"held","prompt":"p"}'))
        [request] = upstream.wait_for(1)
    assert request.connection.closed.wait(PATIENCE)


def test_the_inside_is_not_shown(balancer: str) -> None:
    for path in ("/metrics", "/health/ready"):
        assert httpx.get(balancer + path, trust_env=False).status_code == 404
