"""From bytes to a provider's events, and from each of them to chunks. Pure.

Chunks that stand before a broken event are given out, because the caller's reader has them in the
order in which the provider wrote them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

from app.core.errors import UpstreamError, UpstreamInvalid
from app.openai import lenient_json, sse


class Framing(Protocol):
    """Bytes in, decoded events out; the error is what broke after them."""

    def feed(self, packet: bytes) -> tuple[list[Any], UpstreamError | None]: ...


class SseFraming:
    """Server-sent events with JSON in ``data``. A payload of ``[DONE]`` is given as None."""

    def __init__(self, max_event_bytes: int) -> None:
        self._parser = sse.EventParser(max_event_bytes)

    def feed(self, packet: bytes) -> tuple[list[Any], UpstreamError | None]:
        broken = None
        try:
            payloads = self._parser.feed(packet)
        except sse.EventTooLarge as error:
            payloads = error.before
            broken = UpstreamInvalid(f"The upstream sent too much at once: {error}.")
        events: list[Any] = []
        for payload in payloads:
            try:
                events.append(None if payload == sse.DONE else lenient_json.decode(payload))
            except lenient_json.NotJson:
                return events, UpstreamInvalid(
                    "The upstream sent a stream event that is not valid JSON."
                )
        return events, broken


class Translator(ABC):
    """A StreamTranslator (``base.py``) of one event at a time.

    A subclass says what an event and the end of the body mean; both may raise UpstreamError.
    """

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self.broken: UpstreamError | None = None
        self.done = False

    @property
    @abstractmethod
    def usage(self) -> dict[str, Any] | None: ...

    def take(self, packet: bytes) -> list[dict[str, Any]]:
        events, broken = self._framing.feed(packet)
        chunks: list[dict[str, Any]] = []
        for event in events:
            try:
                chunks += self._event(event)
            except UpstreamError as error:
                self.broken = error
                return chunks
            if self.done:
                return chunks
        self.broken = broken
        return chunks

    def end(self) -> list[dict[str, Any]]:
        if self.done or self.broken is not None:
            return []
        try:
            return self._end()
        except UpstreamError as error:
            self.broken = error
            return []

    @abstractmethod
    def _event(self, event: Any) -> list[dict[str, Any]]: ...

    def _end(self) -> list[dict[str, Any]]:
        raise cut_off()


def cut_off() -> UpstreamInvalid:
    """The error of a stream that ended before its end mark."""
    return UpstreamInvalid("The upstream ended its stream before it was whole.")


def decode_answer(data: bytes) -> dict[str, Any]:
    """The JSON object of a plain answer. Raises UpstreamInvalid."""
    try:
        document = lenient_json.decode(data)
    except lenient_json.NotJson:
        raise UpstreamInvalid("The upstream's answer is not valid JSON.") from None
    if not isinstance(document, dict):
        raise UpstreamInvalid("The upstream's answer is not a JSON object.")
    return document


def object_in(data: bytes, name: str) -> dict[str, Any] | None:
    """A member of a plain answer that is an object; None where there is none."""
    try:
        found = decode_answer(data).get(name)
    except UpstreamInvalid:
        return None
    return found if isinstance(found, dict) else None
