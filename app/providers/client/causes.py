"""Why no connection came about, in words, and what would mend it. For the log and for commands."""

from __future__ import annotations

import socket
import ssl

MAX_DETAIL = 200


def told_by(error: BaseException) -> tuple[str, str] | None:
    """What an error of a socket says, and its cure; None where it says nothing."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = f"its certificate is not trusted: {error.verify_message}"[:MAX_DETAIL]
        return why, "set `ca_file` to its authority, or correct the host in `base_url`"
    if isinstance(error, ssl.SSLError):
        why = f"no TLS: {error.reason or 'the handshake failed'}"[:MAX_DETAIL]
        return why, "a server without TLS is http:// in `base_url`"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused", "start it, or correct the port in `base_url`"
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved", "correct the host in `base_url`"
    if isinstance(error, TimeoutError):
        return "no answer in time", "start it, correct `base_url`, or open the network to it"
    return None
