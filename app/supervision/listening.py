"""The sockets that callers connect to: opened by the main process, one for each worker.

A worker that ends does not take the connections that wait for it along, because the main process
holds its socket too. ``SO_REUSEPORT`` lets the kernel spread connections evenly over the workers;
with one socket that all share, 64 connections opened at once went to one of two workers.
"""

from __future__ import annotations

import errno
import socket
import sys
from contextlib import suppress
from pathlib import Path

BACKLOG = 4096
_LISTENING = "0A"
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")


class AddressTaken(OSError):
    """Somebody else listens there; the text says who, where the system tells."""


class Listening:
    """The listening sockets of one address. Raises OSError where it cannot be listened on."""

    def __init__(self, host: str, port: int, count: int) -> None:
        self._address = (host, port)
        self._shared = count > 1
        if self._shared:
            # SO_REUSEPORT alone would let two gateways of one user share the port unseen.
            listen(host, port).close()
        self._sockets = [listen(host, port, shared=self._shared) for _ in range(count)]

    def descriptor(self, slot: int) -> int:
        """The socket of a worker's slot.

        One that was closed is bound again, but the worker itself listens when it can serve: until
        then the other sockets get all connections.
        """
        if self._sockets[slot].fileno() < 0:
            self._sockets[slot] = bind(*self._address, shared=self._shared)
        return self._sockets[slot].fileno()

    def descriptors(self, *, but: int) -> list[int]:
        """Those of every other slot that is open."""
        found = [one.fileno() for slot, one in enumerate(self._sockets) if slot != but]
        return [descriptor for descriptor in found if descriptor >= 0]

    def close(self, slot: int) -> None:
        """Let the other sockets of the address have this slot's connections."""
        self._sockets[slot].close()

    def close_all(self) -> None:
        for one in self._sockets:
            one.close()


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A listening socket; ``shared`` ones of one user may listen at the same port.

    Raises AddressTaken, or OSError where the address is not this machine's.
    """
    return bind(host, port, shared=shared, listening=True)


def bind(host: str, port: int, *, shared: bool = False, listening: bool = False) -> socket.socket:
    """A socket with an address; raises as `listen` does."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    one = socket.socket(family, kind, protocol)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.bind(address)
        if listening:
            one.listen(BACKLOG)
    except OSError as error:
        one.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressTaken(error.errno, taken_text(str(address[0]), port)) from None
        raise
    return one


def taken_text(host: str, port: int) -> str:
    """Who listens at an address, as far as the system tells us, and what to do."""
    owners = owners_of(host, port)
    if not owners:
        return (
            "the port is in use; `ss -ltnp` run as root names the process. "
            "Stop it, or choose another port"
        )
    (pid, name), *others = owners
    more = f" and {len(others)} more" if others else ""
    return f"the port is in use by pid {pid} ({name}){more}; stop it, or choose another port"


def owners_of(host: str, port: int) -> list[tuple[int, str]]:
    """Processes that listen at a numeric TCP address: pid and name, the lowest pid first.

    Only those whose descriptors we may read; none where there is no /proc.
    """
    wanted = {f"socket:[{inode}]" for inode in _listeners(host, port)}
    found = []
    with suppress(OSError):
        for process in Path("/proc").iterdir():
            if wanted and process.name.isdigit() and _holds(process, wanted):
                with suppress(OSError):
                    name = (process / "comm").read_text().strip()
                    found.append((int(process.name), "".join(filter(str.isprintable, name))))
    return sorted(found)


def _listeners(host: str, port: int) -> set[str]:
    """The inodes of sockets whose address is this one, or of which one of both is every address."""
    ours = _as_in_table(host)
    inodes = set()
    for table in _TABLES:
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                address, _, number = fields[1].rpartition(":")
                same = address == ours or not (address.strip("0") and ours.strip("0"))
                if fields[3] == _LISTENING and int(number, 16) == port and same:
                    inodes.add(fields[9])
    return inodes


def _as_in_table(host: str) -> str:
    """An address as /proc/net writes it: words of four bytes in the machine's order."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    words = [packed[at : at + 4] for at in range(0, len(packed), 4)]
    return "".join(
        (word[::-1] if sys.byteorder == "little" else word).hex() for word in words
    ).upper()


def _holds(process: Path, wanted: set[str]) -> bool:
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                if str(descriptor.readlink()) in wanted:
                    return True
    return False
