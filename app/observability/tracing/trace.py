"""The trace of one request while it runs: who asked, and each call of an upstream."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from time import perf_counter
from typing import Any, TypeVar

from app.core.errors import GatewayError
from app.observability.tracing.context import Parent, header_of, new_span_id, new_trace_id

MOST_CALLS = 32  # of upstreams that are kept of one request

Broken = TypeVar("Broken", bound="GatewayError | None")


class UpstreamSpan:
    """One call of a target. Times are seconds of ``perf_counter``; ``ended`` is 0 while it runs.

    ``request`` is the JSON that was asked, for the few members of it that a span has.
    """

    __slots__ = ("began", "ended", "error", "model", "provider", "request", "span_id")

    def __init__(self, provider: str, model: str, request: Mapping[str, Any]) -> None:
        self.span_id = new_span_id()
        self.provider = provider
        self.model = model
        self.request = request
        self.began = perf_counter()
        self.ended = 0.0
        self.error: str | None = None


class Trace:
    """Made when a request comes in; ``sampled`` is the caller's word, or ours where it has none."""

    __slots__ = ("calls", "parent", "sampled", "span_id", "trace_id")

    def __init__(self, parent: Parent | None, *, sampled: bool) -> None:
        self.parent = parent
        self.trace_id = parent.trace_id if parent is not None else new_trace_id()
        self.span_id = new_span_id()
        self.sampled = sampled
        self.calls: list[UpstreamSpan] = []

    @property
    def failed(self) -> bool:
        """Whether a call of an upstream went wrong, though another one may have answered."""
        return any(call.error is not None for call in self.calls)

    def header(self) -> bytes:
        """The ``traceparent`` for the upstream that is being asked."""
        child = self.calls[-1].span_id if self.calls else self.span_id
        return header_of(self.trace_id, child, sampled=self.sampled)

    async def follow(
        self, provider: str, model: str, request: Mapping[str, Any], asked: Awaitable[Broken]
    ) -> Broken:
        """Wait for a call of a target and note how it went. Its result is the error that ended a
        stream which had begun."""
        span = UpstreamSpan(provider, model, request)
        if len(self.calls) < MOST_CALLS:
            self.calls.append(span)
        try:
            broken = await asked
        except GatewayError as error:
            span.error = error.code or type(error).__name__
            raise
        except BaseException:
            span.error = "cancelled"
            raise
        else:
            if broken is not None:
                span.error = broken.code
            return broken
        finally:
            span.ended = perf_counter()
