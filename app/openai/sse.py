"""Server-sent events: any legal framing in, one clean framing out. Pure bytes, no I/O.

Source: the HTML standard, section 9.2 (event stream interpretation). Lines end in LF, CRLF or CR;
a line that starts with a colon is a comment; several ``data`` lines of one event are joined by LF;
an event is dispatched by an empty line; an event that the end of the stream cuts off is discarded.
``event``, ``id`` and ``retry`` fields carry nothing that a completions stream needs and are dropped.
"""

from __future__ import annotations

DONE = b"[DONE]"
DONE_EVENT = b"data: [DONE]\n\n"

_BOM = b"\xef\xbb\xbf"


class EventTooLarge(ValueError):
    """One event passed the size that the parser was told to bear.

    ``before`` are the payloads that the same packet completed before it.
    """

    def __init__(self, message: str, before: list[bytes]) -> None:
        super().__init__(message)
        self.before = before


class EventParser:
    """Bytes in, ``data`` payloads out; keeps at most ``max_event_bytes`` between calls."""

    __slots__ = ("_data", "_max", "_rest", "_size", "_skip_lf", "_started")

    def __init__(self, max_event_bytes: int = 1 << 20) -> None:
        self._max = max_event_bytes
        self._rest: list[bytes] = []  # the unfinished last line, in the pieces it came in
        self._size = 0  # of everything kept
        self._data: list[bytes] = []
        self._started = False
        self._skip_lf = False  # the last packet ended in CR: an LF that follows belongs to it

    def feed(self, packet: bytes) -> list[bytes]:
        """The payloads that this packet completes, in order.

        Raises EventTooLarge when an event outgrows the bound, finished or not.
        """
        if not self._started and packet:
            packet = self._strip_bom(packet)
        if (
            not self._rest
            and not self._data
            and packet.endswith(b"\n\n")
            and packet.startswith(b"data: ")
            and b"\r" not in packet
            and len(packet) <= self._max
        ):
            if packet.find(b"\n") == len(packet) - 2:  # one event, as most packets are
                self._skip_lf = False
                return [packet[6:-2]]
            events = packet[:-2].split(b"\n\n")
            if all(event.startswith(b"data: ") and b"\n" not in event for event in events):
                self._skip_lf = False
                return [event[6:] for event in events]
        return self._feed_lines(packet)

    def _strip_bom(self, packet: bytes) -> bytes:
        packet = b"".join(self._rest) + packet
        self._rest = []
        if len(packet) < len(_BOM) and _BOM.startswith(packet):
            self._rest = [packet]
            return b""
        self._started = True
        return packet.removeprefix(_BOM)

    def _feed_lines(self, packet: bytes) -> list[bytes]:
        if not self._started:
            return []
        if self._skip_lf and packet:
            packet = packet.removeprefix(b"\n")
            self._skip_lf = False
        if b"\r" in packet:
            self._skip_lf = packet.endswith(b"\r")
            packet = packet.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        payloads: list[bytes] = []
        if b"\n" in packet:
            *lines, rest = (b"".join(self._rest) + packet).split(b"\n")
            self._rest = [rest] if rest else []
            self._size = len(rest) + sum(map(len, self._data)) + len(self._data)
            for line in lines:
                if line:
                    self._take(line)
                elif self._data:
                    payloads.append(b"\n".join(self._data))
                    self._data = []
                    self._size = len(rest)
        elif packet:
            self._rest.append(packet)
            self._size += len(packet)
        good = next((i for i, p in enumerate(payloads) if len(p) > self._max), len(payloads))
        if self._size > self._max or good < len(payloads):
            message = f"an event is larger than {self._max} bytes"
            raise EventTooLarge(message, payloads[:good])
        return payloads

    def _take(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            value = line[5:]
            self._keep(value[1:] if value[:1] == b" " else value)
        elif line == b"data":
            self._keep(b"")

    def _keep(self, value: bytes) -> None:
        self._data.append(value)
        self._size += len(value) + 1


def event(payload: bytes) -> bytes:
    """One event with this payload, which must hold no line break (JSON never does)."""
    return b"data: " + payload + b"\n\n"
