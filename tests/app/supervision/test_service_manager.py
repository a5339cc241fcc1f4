"""systemd is told when the gateway serves and when it stops; nobody else is, and nothing waits."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from signal import SIGTERM

import httpx
import pytest

from app.supervision.service_manager import READY, STOPPING, ServiceManager
from tests.harness.credentials import KEY
from tests.harness.gateway import STARTED, Gateway


def listening(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(address)
    listener.settimeout(STARTED)
    return listener


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with closing(listening(str(tmp_path / "notify"))) as opened:
        yield opened


def test_a_state_and_a_status_are_one_message(listener: socket.socket) -> None:
    ServiceManager(listener.getsockname()).tell(READY, "serves")
    assert listener.recv(4096) == b"READY=1\nSTATUS=serves"


def test_an_abstract_name_is_a_name_too() -> None:
    name = f"headgate-{os.getpid()}"
    with closing(listening(f"\0{name}")) as listener:
        ServiceManager(f"@{name}").tell(STOPPING, "stops")
        assert listener.recv(4096).startswith(b"STOPPING=1\n")


@pytest.mark.parametrize("address", [None, "/nowhere/at/all", "@nobody-listens-here"])
def test_nobody_who_listens_is_no_failure(address: str | None) -> None:
    ServiceManager(address).tell(READY, "serves")


def test_a_full_queue_is_not_waited_for(listener: socket.socket) -> None:
    manager = ServiceManager(listener.getsockname())
    for _ in range(1000):  # more than the kernel keeps
        manager.tell(READY, "serves")


def test_a_gateway_tells_when_it_serves_and_when_it_stops(listener: socket.socket) -> None:
    configuration = {
        "log": {"format": "json"},
        "server": {"shutdown_delay": "30s"},
        "store": {"url": "redis://127.0.0.1:1", "optional": True},
        "providers": {"sim": {"kind": "simulator"}},
        "models": {"native": {"targets": [{"provider": "sim", "model": "s"}]}},
        "tenants": {"acme": {}},
        "keys": [{"id": "all", "tenant": "acme", "secret": KEY}],
    }
    with Gateway(configuration, environment={"NOTIFY_SOCKET": listener.getsockname()}) as gateway:
        assert (
            listener.recv(4096)
            .decode()
            .startswith(f"READY=1\nSTATUS=serves 127.0.0.1:{gateway.port}")
        )
        assert httpx.get(f"{gateway.url}/health/live", trust_env=False).status_code == 200
        gateway.signal(SIGTERM)
        assert listener.recv(4096).startswith(b"STOPPING=1\n")
        gateway.signal(SIGTERM)  # the second one skips the delay
        assert gateway.wait_for_exit() == 0
