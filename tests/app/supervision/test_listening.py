"""Who holds a port, and sockets that several workers listen with."""

from __future__ import annotations

import os
import socket

import pytest

from app.supervision.listening import AddressTaken, Listening, listen, owners_of, taken_text
from tests.harness.gateway import free_port


@pytest.mark.parametrize(
    ("held", "asked"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("127.0.0.1", "0.0.0.0"),
        ("::1", "::1"),
        ("::", "127.0.0.1"),
    ],
)
def test_the_owner_of_a_port_is_found(held: str, asked: str) -> None:
    with listen(held, 0) as one:
        port = one.getsockname()[1]
        assert os.getpid() in [pid for pid, _ in owners_of(asked, port)]


def test_another_address_of_the_port_is_somebody_elses() -> None:
    with listen("127.0.0.2", 0) as one:
        assert owners_of("127.0.0.1", one.getsockname()[1]) == []


def test_an_owner_that_cannot_be_seen_is_told_how_to_find() -> None:
    assert "ss -ltnp" in taken_text("127.0.0.1", free_port())


def test_a_port_is_not_shared_with_another_gateway() -> None:
    port = free_port()
    first = Listening("127.0.0.1", port, 2)
    with pytest.raises(AddressTaken, match=f"in use by pid {os.getpid()}"):
        Listening("127.0.0.1", port, 2)
    first.close_all()


def test_a_socket_that_was_closed_comes_back_without_listening() -> None:
    listening = Listening("127.0.0.1", free_port(), 2)
    listening.close(1)
    assert len(listening.descriptors(but=0)) == 0
    with socket.socket(fileno=os.dup(listening.descriptor(1))) as again:
        assert again.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 0
    listening.close_all()
