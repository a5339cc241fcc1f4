"""What the kernel knows of this process's accepted TCP connections (Linux)."""

from __future__ import annotations

import os
import socket
import struct
import sys
from time import sleep
from typing import NamedTuple

SUPPORTED = sys.platform == "linux"

_TCP_INFO = 11
_SO_COOKIE = 57  # a number that no other socket has had since the machine started
# Of struct tcp_info: state, unacked, last_data_sent, last_data_recv, bytes_acked, bytes_received,
# notsent_bytes. Source: include/uapi/linux/tcp.h, unchanged in these places since Linux 4.6.
_LENGTH = 148
_facts_of = struct.Struct("=B23xI16xI4xI64xQQ8xI").unpack
_LISTEN = 10
TURN = 256
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Reading(NamedTuple):
    """One connection now. ``acked`` and ``received`` count bytes since it began, ``unsent`` bytes
    that wait in the kernel; ``quiet`` is seconds since data last came or went."""

    descriptor: int
    cookie: bytes
    acked: int
    received: int
    unsent: int
    sending: bool
    quiet: float


class Snapshot(NamedTuple):
    """The connections on our port, and how many more wait to be accepted."""

    connections: list[Reading]
    waiting: int


class Sockets:
    """Reads this process's sockets by their descriptors, without owning one.

    A descriptor is the server's: it may be closed, and its number used again, at any moment. What is
    read then belongs to another socket, and its cookie says so. Nothing is held open: a duplicate
    would keep a connection alive that the server has closed.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        # Python objects around foreign descriptors. One that is dropped would close its descriptor,
        # so they leave this table by `_forget` only.
        self._handles: dict[int, socket.socket] = {}
        self._ours: dict[
            int, tuple[bytes, bool]
        ] = {}  # by descriptor: its cookie, and whether ours

    def read(self) -> Snapshot:
        """Every connection on the port."""
        connections: list[Reading] = []
        waiting = 0
        # Names only, and in one call: there may be thousands.
        present = set(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208
        for descriptor in self._handles.keys() - present:
            self._forget(descriptor)
        for count, descriptor in enumerate(present):
            if not count % TURN:
                sleep(0)  # the event loop may want the interpreter meanwhile
            try:
                handle = self._handles.get(descriptor)
                if handle is None:
                    handle = self._handles[descriptor] = _around(descriptor)
                cookie = handle.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8)
                if not self._is_ours(descriptor, cookie, handle):
                    continue
                facts = handle.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _LENGTH)
                state, unacked, sent, received_ago, acked, received, unsent = _facts_of(facts)
            except (OSError, struct.error):
                continue  # not a socket, or gone meanwhile
            if state == _LISTEN:
                waiting += unacked
                continue
            quiet = min(sent, received_ago) / 1000
            sending = unsent > 0 or unacked > 0
            connections.append(Reading(descriptor, cookie, acked, received, unsent, sending, quiet))
        return Snapshot(connections, waiting)

    def peer(self, reading: Reading) -> tuple[str, str] | None:
        """Address and port of the other side, as ASGI's ``client`` has them; None if it is gone."""
        try:
            host, port = self._handles[reading.descriptor].getpeername()[:2]
        except (OSError, KeyError, ValueError):
            return None
        return host, str(port)

    def end(self, reading: Reading, *, reset: bool) -> bool:
        """End a connection; with ``reset`` what waits to be sent is thrown away.

        False where it has ended by itself.
        """
        try:
            duplicate = socket.socket(fileno=os.dup(reading.descriptor))
        except OSError:
            return False
        with duplicate:
            try:
                # Only now is it certain whose descriptor this is.
                cookie = duplicate.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8)
                if cookie != reading.cookie:
                    return False
                if reset:
                    duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                duplicate.shutdown(socket.SHUT_RDWR)
            except OSError:
                return False
        return True

    def close(self) -> None:
        """Let go of every descriptor without closing it."""
        for descriptor in list(self._handles):
            self._forget(descriptor)

    def _is_ours(self, descriptor: int, cookie: bytes, handle: socket.socket) -> bool:
        known = self._ours.get(descriptor)
        if known is None or known[0] != cookie:
            address = handle.getsockname()
            ours = type(address) is tuple and len(address) > 1 and address[1] == self._port
            known = self._ours[descriptor] = (cookie, ours)
        return known[1]

    def _forget(self, descriptor: int) -> None:
        self._ours.pop(descriptor, None)
        handle = self._handles.pop(descriptor, None)
        if handle is not None:
            handle.detach()


def _around(descriptor: int) -> socket.socket:
    """An object for a descriptor of whatever kind; its calls fail where it is no socket.

    Of the family with the longest addresses: Python makes room for one by it, and reads any other too.
    """
    return socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 0, descriptor)
