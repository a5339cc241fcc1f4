"""One request and its outcome: made once, passed along in the ASGI scope, filled on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from app.core.errors import HeaderList
from app.core.units import FREE, NanoDollars
from app.core.usage import Usage

if TYPE_CHECKING:
    from app.core.keys import Key

CLIENT_CLOSED_REQUEST = 499  # nginx's code for a client that went away; for logs and metrics only


class Attempt(NamedTuple):
    """One call of a target, or that it was passed over: ``result`` is a status or one word."""

    target: str
    result: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.target}={self.result}"


class Retrieved(NamedTuple):
    """What retrieval did: ``used``, ``empty`` or ``failed``; the ids of the chunks that were used."""

    result: str
    chunks: tuple[str, ...] = ()


class Outcome:
    """What happened. Times are seconds; ``first_byte`` counts from the request's start.

    ``operation`` is the endpoint family's name, None for other routes. ``provider`` and ``model`` are
    those that answered; ``saved`` is what a hit would have cost; ``charged`` is the cost that a budget
    was charged, and None where there was none to charge. ``trail`` has every attempt where there was
    more than one, or where the only one failed.
    ``cache_layer`` is how a kept answer was found, ``exact`` or ``semantic``; ``streamed`` is whether
    the answer began as a stream. ``trace`` is the request's, where requests are traced.
    ``guardrails`` counts what rules did, as ``pii.email=redact``;
    ``retrieval`` is what was put beside the prompts.
    ``shown`` is the body that a log may have, where that is not the one that was sent.
    """

    __slots__ = (
        "alias",
        "attempts",
        "cache",
        "cache_layer",
        "charged",
        "cost",
        "error_code",
        "first_byte",
        "guardrails",
        "model",
        "operation",
        "provider",
        "retrieval",
        "saved",
        "shown",
        "status",
        "streamed",
        "text",
        "trace",
        "trail",
        "unlogged",
        "upstream_time",
        "usage",
    )

    def __init__(self) -> None:
        self.status = 0
        self.error_code: str | None = None
        self.operation: str | None = None
        self.alias: str | None = None
        self.provider: str | None = None
        self.model: str | None = None
        self.usage: Usage | None = None
        self.attempts = 0
        self.cost: NanoDollars | None = None
        self.charged: NanoDollars | None = None
        self.saved = FREE
        self.cache: str | None = None
        self.cache_layer: str | None = None
        self.streamed = False
        self.first_byte: float | None = None
        self.unlogged = False
        self.upstream_time = 0.0
        self.text: list[str] | None = None
        self.trace: Any = None
        self.trail: list[Attempt] | None = None
        self.guardrails: dict[str, int] = {}
        self.retrieval: Retrieved | None = None
        self.shown: bytes | None = None

    @property
    def billed(self) -> NanoDollars | None:
        """What was charged, though a stale answer was given in the end, or the cost."""
        return self.cost if self.charged is None else self.charged

    def alias_for(self, key: Key | None) -> str | None:
        """The alias; None where the key may not use it, because then it is the caller's own text."""
        return self.alias if key is not None and self.alias in key.models else None


class Exchange:
    """The facts of one request; docs/architecture.md has the table of who writes and who reads them.

    ``taken`` are the keys of the buckets that this request has taken one from before its body was
    known, None where it has not been asked of them; ``store_out`` says that this was decided without
    the store. ``closing`` are headers of every answer while the gateway is being stopped.
    ``peer`` is the address of whoever connected, ``path`` as it came over the wire. ``key`` is for the record, which is also made of requests that have none.
    """

    __slots__ = (
        "body",
        "body_read",
        "closing",
        "headers",
        "key",
        "method",
        "outcome",
        "path",
        "peer",
        "reply_headers",
        "request_id",
        "started",
        "store_out",
        "taken",
    )

    def __init__(self, request_id: str, headers: dict[bytes, bytes], started: float) -> None:
        self.request_id = request_id
        self.headers = headers
        self.started = started
        self.method = ""
        self.path = b""
        self.key: Key | None = None
        self.peer = ""
        self.body = b""
        self.body_read = False
        self.reply_headers: HeaderList = []
        self.closing: HeaderList = []
        self.outcome = Outcome()
        self.store_out = False
        self.taken: tuple[str, ...] | None = None


def exchange_of(scope: Any) -> Exchange:
    """The exchange that RequestId put into this scope."""
    exchange: Exchange = scope["state"]["exchange"]
    return exchange


def key_of(scope: Any) -> Key:
    """The key that Auth put into this scope."""
    key: Key = scope["state"]["key"]
    return key
