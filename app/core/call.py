"""One admitted request, as the inner chain hands it on. Nothing in it is missing.

Auth finds the key, Body reads the request and makes the call of both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from app.core.errors import HeaderList
from app.core.exchange import Exchange, Outcome
from app.core.family import Family
from app.core.keys import Key
from app.core.reply import ReplyWriter
from app.core.request import ONE_CALL, ModelRequest

NO_METADATA: Mapping[str, str] = MappingProxyType({})


class Guards(Protocol):
    """The guardrails of a call; only the layers that apply them know more."""

    @property
    def policy(self) -> bytes:
        """A digest of the rules that an answer must have passed; empty where there are none."""
        ...


class Context(NamedTuple):
    """What retrieval put into a request: ``asked`` is the request without it, in its caller's words,
    and ``identity`` a digest of what was put in."""

    asked: ModelRequest
    identity: bytes


class Caller:
    """Whoever waits for the answer. ``linger``, where it is set, is waited for before the call is
    cancelled because its caller left."""

    __slots__ = ("linger",)

    def __init__(self) -> None:
        self.linger: Callable[[], Awaitable[None]] | None = None


class Call:
    """A request with its key. What is passed along is frozen: a change is a copy.

    ``headers`` are the caller's by lower-case name, ``header_lines`` the same as they were sent.
    ``outcome`` is what is noted about it, ``reply_headers`` what the answer will say besides its own.
    ``fan_out`` is how the request is sent. ``taken`` are the
    keys of the buckets that it has taken one from already. ``store_out`` says that the limits were
    decided without the store. ``targets`` are the routes to those who may answer, in the order in
    which they are asked; the first is the one that was picked. ``steering`` is what a routing config
    of the caller's says of this call (see app/portkey), ``metadata`` what the caller said about it.
    ``guards`` are the guardrails that hold for it. ``to_add`` is the most tokens that retrieval may
    put into its prompts, ``context`` what it did put in.
    """

    __slots__ = (
        "body",
        "caller",
        "context",
        "family",
        "fan_out",
        "guards",
        "header_lines",
        "headers",
        "key",
        "metadata",
        "outcome",
        "reply_headers",
        "request",
        "request_id",
        "started",
        "steering",
        "store_out",
        "taken",
        "targets",
        "to_add",
    )

    def __init__(
        self,
        *,
        request_id: str,
        started: float,
        key: Key,
        family: Family,
        request: ModelRequest,
        headers: dict[bytes, bytes],
        header_lines: HeaderList,
        outcome: Outcome,
        reply_headers: HeaderList,
        body: bytes = b"",
    ) -> None:
        self.request_id = request_id
        self.started = started
        self.key = key
        self.family = family
        self.request = request
        self.headers = headers
        self.header_lines = header_lines
        self.outcome = outcome
        self.reply_headers = reply_headers
        self.body = body
        self.fan_out = ONE_CALL
        self.guards: Guards | None = None
        self.context: Context | None = None
        self.to_add = 0
        self.store_out = False
        self.taken: tuple[str, ...] = ()
        self.targets: tuple[Any, ...] = ()
        self.steering: Any = None
        self.metadata: Mapping[str, str] = NO_METADATA
        self.caller = Caller()

    @classmethod
    def of(
        cls,
        exchange: Exchange,
        key: Key,
        family: Family,
        request: ModelRequest,
        header_lines: HeaderList,
    ) -> Call:
        """An exchange whose key and request are known."""
        call = cls(
            request_id=exchange.request_id,
            started=exchange.started,
            key=key,
            family=family,
            request=request,
            headers=exchange.headers,
            header_lines=header_lines,
            outcome=exchange.outcome,
            reply_headers=exchange.reply_headers,
            body=exchange.body,
        )
        call.store_out, call.taken = exchange.store_out, exchange.taken or ()
        return call

    def with_request(self, request: ModelRequest) -> Call:
        """The same call for another request, such as the part of a batch that is not cached."""
        call = Call(
            request_id=self.request_id,
            started=self.started,
            key=self.key,
            family=self.family,
            request=request,
            headers=self.headers,
            header_lines=self.header_lines,
            outcome=self.outcome,
            reply_headers=self.reply_headers,
            body=self.body,
        )
        call.fan_out, call.store_out, call.taken = self.fan_out, self.store_out, self.taken
        call.caller, call.guards, call.context = self.caller, self.guards, self.context
        call.targets, call.steering, call.metadata = self.targets, self.steering, self.metadata
        call.to_add = self.to_add
        return call

    def leg(self, request: ModelRequest, lines: HeaderList, steering: Any) -> Call:
        """The call to one target of the caller's routing config: with an outcome and reply headers of
        its own, because another target may be asked after it. ``lines`` are its headers."""
        call = self.with_request(request)
        call.headers, call.header_lines = dict(lines), lines
        call.outcome, call.reply_headers, call.started = Outcome(), [], perf_counter()
        call.outcome.operation, call.outcome.alias = self.outcome.operation, request.model
        call.outcome.trace = self.outcome.trace
        call.steering = steering
        return call

    def background(self, kind: str, key: Key | None = None) -> Call:
        """The same request on its own, with an outcome of its own that says ``kind``.

        No caller waits for it. ``key`` pays where it is not the caller's. Only the target that was
        picked is asked, because another's answer would be of no use.
        """
        call = Call(
            request_id=self.request_id,
            started=perf_counter(),
            key=key or self.key,
            family=self.family,
            request=self.request,
            headers=self.headers,
            header_lines=self.header_lines,
            outcome=Outcome(),
            reply_headers=[],
        )
        call.guards, call.context = self.guards, self.context
        call.outcome.operation, call.outcome.alias = self.outcome.operation, self.outcome.alias
        call.outcome.cache = kind
        call.targets, call.metadata = self.targets[:1], self.metadata
        return call


def admitted_call(scope: Any) -> Call:
    """The call that Body put into this scope."""
    call: Call = scope["state"]["call"]
    return call


Handler = Callable[[Call, ReplyWriter], Awaitable[None]]
