"""The listener for health and metrics, which the main process serves whatever its workers do."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import Any

import httpx
import pytest

from tests.harness.gateway import free_port


@pytest.fixture
def management(serve: Any, config: Any) -> Any:
    """A gateway of one worker with a management listener, and that listener's client."""
    port = free_port()
    file = config(worker_timeout="3s", management=f"{{port: {port}}}")
    gateway = serve("--config", file.path).ready()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        yield gateway, client


def quickest(client: httpx.Client) -> float:
    """Seconds of the quickest of a few requests: a busy machine may hold up some."""
    return min(client.get("/health/live").elapsed.total_seconds() for _ in range(5))


def test_the_management_listener_answers_without_a_key(management: Any, until: Any) -> None:
    _, client = management
    until(lambda: client.get("/health/ready").status_code == 200, "the worker is heard")
    assert client.get("/health/live").json()["status"] == "live"
    assert client.get("/health").json() == client.get("/health/live").json()
    assert client.get("/health/ready").json()["workers"][0]["status"] == "ready"
    assert client.get("/v1/models").status_code == 404
    assert client.post("/health/live").status_code == 405


def test_metrics_move_to_the_management_listener(management: Any) -> None:
    gateway, client = management
    page = client.get("/metrics")
    assert page.status_code == 200
    assert "headgate_replica_workers_ready 1\n" in page.text
    assert client.get("/metrics/shared").status_code == 200
    assert gateway.get("/metrics").status_code == gateway.get("/metrics/shared").status_code == 404


def test_a_hung_worker_leaves_the_management_listener_quick(management: Any, until: Any) -> None:
    gateway, client = management
    client.get("/health/live")  # connections are made anew, Python's imports are not
    [worker] = gateway.workers()
    os.kill(worker, signal.SIGSTOP)
    assert quickest(client) < 0.1
    told = until(lambda: (a := client.get("/health/ready")).status_code == 503 and a, "it tells")
    assert told.json()["reason"] in ("not_answering", "starting")
    until(lambda: client.get("/health/ready").status_code == 200, "the worker is replaced")
    assert client.get("/health/ready").json()["workers"][0]["restarts"] == 1
    assert gateway.complete(model="first").status_code == 200


def test_metrics_of_a_hung_worker_are_a_503(management: Any) -> None:
    gateway, client = management
    os.kill(gateway.workers()[0], signal.SIGSTOP)
    assert client.get("/metrics", timeout=10).status_code == 503
    assert client.get("/metrics/shared", timeout=10).status_code == 503


def test_silent_connections_do_not_keep_others_out(management: Any) -> None:
    _, client = management
    address = (client.base_url.host, client.base_url.port)
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(socket.create_connection(address))
        assert quickest(client) < 0.5


def test_readiness_on_the_management_listener_goes_first(serve: Any, config: Any) -> None:
    port = free_port()
    gateway = serve("--config", config(delay="1s", management=f"{{port: {port}}}").path).ready()
    gateway.signal(signal.SIGTERM)
    gateway.err.wait("stopping")
    answer = httpx.get(f"http://127.0.0.1:{port}/health/ready", trust_env=False)
    assert answer.json()["reason"] == "shutting_down"
    assert gateway.wait() == 0


def test_a_taken_management_port_is_told_too(serve: Any, config: Any) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        gateway = serve("--config", config(management=f"{{port: {taken}}}").path)
        assert gateway.wait() == 1
    assert f"127.0.0.1:{taken}: the port is in use by pid {os.getpid()}" in gateway.err.text()
