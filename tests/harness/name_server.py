"""A name server for tests: answers A queries from a table that may change."""

from __future__ import annotations

import socket
import struct
import threading
from typing import Self

from tests.harness.waiting import PATIENCE

A_RECORD, INTERNET = 1, 1
NAME_ERROR = 3


def answer_to(query: bytes, table: dict[str, str]) -> bytes:
    """The answer to one question (RFC 1035, section 4); no record for what is not an A query."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    question = query[12 : at + 5]
    kind, _ = struct.unpack(">HH", query[at + 1 : at + 5])
    address = table.get(".".join(labels))
    found = address is not None and kind == A_RECORD
    flags = 0x8180 | (0 if address is not None else NAME_ERROR)
    head = query[:2] + struct.pack(">HHHHH", flags, 1, int(found), 0, 0)
    if not found or address is None:
        return head + question
    # The name by a pointer to the question, which stands after the twelve bytes of the head.
    record = struct.pack(">HHHIH", 0xC00C, A_RECORD, INTERNET, 600, 4) + socket.inet_aton(address)
    return head + question + record


class NameServer:
    """On a free UDP port of loopback; use as a context manager."""

    def __init__(self, table: dict[str, str]) -> None:
        self.table = table
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # A question of no length ends the thread; closing alone would not wake it.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(PATIENCE)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            query, sender = self._socket.recvfrom(4096)
            if not query:
                return
            self._socket.sendto(answer_to(query, self.table), sender)
