"""What systemd is told of a service of ``Type=notify``: when it is ready, and when it stops.

One datagram each, of ``NAME=value`` lines, to the socket that ``NOTIFY_SOCKET`` names: sd_notify(3).
"""

from __future__ import annotations

import socket
from contextlib import suppress

READY = "READY=1"
STOPPING = "STOPPING=1"


class ServiceManager:
    """Who started the gateway, if it wants to hear of it. Never waits, never fails."""

    def __init__(self, address: str | None) -> None:
        """``address`` is a path; one that begins with ``@`` is of Linux's abstract names."""
        if address is not None and address.startswith("@"):
            address = f"\0{address[1:]}"
        self._address = address

    def tell(self, state: str, status: str) -> None:
        """``state`` is one of the above; ``status`` is shown by ``systemctl status``."""
        if self._address is None:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(f"{state}\nSTATUS={status}".encode(), self._address)
