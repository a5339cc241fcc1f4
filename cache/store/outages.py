"""Why a store cannot be asked: one of a few words for a health page, and a sentence for the log."""

from __future__ import annotations

import errno
import re
import socket
import ssl

# Of a connection that did not come about; an outage may also be named by a server's own word
# (``readonly``, ``oom``: see cache.store.refusals).
REASONS = frozenset({"refused", "dns", "auth", "tls", "slow", "unreachable"})

# asyncio tries every address of a name, and tells several failures as one text only.
_NUMBERS = re.compile(r"\[Errno (\d+)\]")


class Outage(ConnectionError):
    """A store that could not be entered; ``detail`` names its address, and never a password."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def outage_of(error: Exception, where: str) -> Outage:
    """What an error in connecting to ``where`` (an address) comes to."""
    if isinstance(error, Outage):
        return error
    if isinstance(error, socket.gaierror | UnicodeError):
        said = getattr(error, "strerror", None) or "not a name"
        return Outage("dns", f"{where}: the host's name cannot be resolved ({said})")
    if isinstance(error, ssl.SSLError):
        said = getattr(error, "verify_message", "") or error.reason or "no handshake"
        return Outage("tls", f"{where}: no secure connection ({said})")
    if isinstance(error, TimeoutError):
        return Outage("slow", f"{where}: no answer while connecting")
    if _refused(error):
        return Outage("refused", f"{where}: connection refused")
    said = getattr(error, "strerror", None) or "cannot be reached, or closes the connection"
    return Outage("unreachable", f"{where}: {said}")


def refusal_of(command: str, answer: Exception, where: str) -> Outage:
    """What an error in answer to one of the first commands on a connection comes to.

    Only the server's first word is repeated, because the rest may repeat what was sent.
    """
    text = str(answer)
    word = text.partition(" ")[0]
    if text.startswith("ERR max number of clients"):
        return Outage("refused", f"{where}: the server has no room for another client")
    if word in {"WRONGPASS", "NOAUTH", "NOPERM"} or (command == "AUTH" and word == "ERR"):
        return not_let_in(where, word)
    if command == "SELECT":
        return Outage("refused", f"{where}: the server has no such database ({word})")
    return Outage("refused", f"{where}: the server refuses to be asked ({word})")


def not_let_in(where: str, word: str = "") -> Outage:
    """A wrong password, or one that is missing; ``word`` is the server's."""
    said = f" ({word})" if word else ""
    return Outage("auth", f"{where}: the server does not accept the user name and password{said}")


def _refused(error: Exception) -> bool:
    numbers = set(_NUMBERS.findall(str(error)))
    return isinstance(error, ConnectionRefusedError) or numbers == {str(errno.ECONNREFUSED)}
