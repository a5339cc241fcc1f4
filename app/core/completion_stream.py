"""A streamed answer on its way through: upstream chunks in, the contract's chunks out.

Pure: fed with decoded events, asked at the end whether the stream was whole. What it guarantees to
the caller: one ``id``, a string ``text`` in every choice, one ``finish_reason`` a choice, usage
only where it was asked for, and never a ``[DONE]`` after an answer that was cut.
"""

from __future__ import annotations

from typing import Any

import orjson

from app.core import sse
from app.core.choice_index import ChoiceIndex
from app.core.completion_answer import (
    OBJECT,
    completion_id,
    encode,
    estimate,
    mend_choice,
    whole_seconds,
)
from app.core.completions import CompletionRequest
from app.core.errors import UpstreamInvalid
from app.core.usage import Usage, read_usage

_ENVELOPE = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "error", "system_fingerprint"}
)
_KEPT = ("system_fingerprint",)


class StreamShaper:
    """Shapes one stream. Holds counters per choice and the longest estimate needs, never text."""

    __slots__ = (
        "_created",
        "_finished",
        "_id",
        "_include_usage",
        "_index",
        "_keep_usage",
        "_now",
        "_pieces",
        "_request",
        "_started",
        "_tail",
        "_text_bytes",
        "_usage",
        "_usage_members",
        "model",
    )

    def __init__(self, request: CompletionRequest, model: str, now: int) -> None:
        self._request = request
        self._include_usage = request.include_usage
        self._keep_usage = request.stream_options.get("continuous_usage_stats") is True
        self._now = now
        self._id: str | None = None
        self._created = now
        self.model = model
        self._index = ChoiceIndex(request.choices)
        self._started: set[int] = set()
        self._finished: set[int] = set()
        self._text_bytes = 0
        self._pieces = 0
        self._usage: Usage | None = None
        self._usage_members: dict[str, Any] = {}
        self._tail: dict[str, Any] = {}  # what the upstream's usage chunk said besides

    @property
    def usage(self) -> Usage | None:
        """What was used so far: the upstream's count, else an estimate of what went by.

        None where nothing went by. A chunk that says something is at least one token.
        """
        if self._usage is not None or not self._started:
            return self._usage
        guess = estimate(self._request, self._text_bytes)
        return guess._replace(completion_tokens=max(guess.completion_tokens, self._pieces))

    def shape(self, chunk: Any) -> bytes:
        """One upstream chunk as the event that the caller gets; empty where it gets none.

        Raises UpstreamInvalid where the chunk is an error or no completions chunk.
        """
        if not isinstance(chunk, dict):
            raise UpstreamInvalid("The upstream sent a stream event that is not an object.")
        if chunk.get("error"):
            raise UpstreamInvalid("The upstream broke off its stream with an error.")
        choices = chunk.get("choices")
        if choices is None and not chunk.get("usage"):
            raise UpstreamInvalid("The upstream sent a stream event without choices.")
        self._take_usage(chunk)
        if not choices:
            if _ENVELOPE.issuperset(chunk):
                self._tail |= {name: chunk[name] for name in _KEPT if name in chunk}
                return b""
            chunk["choices"] = []
        elif not self._shape_choices(choices):
            return b""
        if self._id is None:
            self._open(chunk)
        chunk["id"] = self._id
        chunk["object"] = OBJECT
        chunk["created"] = self._created
        chunk["model"] = self.model
        if self._include_usage and not chunk.get("usage"):
            chunk.pop("usage", None)
            chunk["usage"] = None  # last, where a cache can take it off again
        return sse.event(encode(chunk))

    def end(self, *, said_done: bool = False) -> bytes:
        """What follows the last chunk: usage where asked for, and the end mark.

        An upstream that ``said_done`` is believed where one choice was asked for: as in a plain
        answer, its finish reason stays null. Raises UpstreamInvalid where the stream was cut: a
        choice that began and did not finish, or one that never began.
        """
        expected = self._request.choices if len(self._request.prompts) > 1 else 1
        whole = self._started == self._finished and len(self._finished) >= expected
        if not whole and not (said_done and self._started and self._request.choices == 1):
            raise UpstreamInvalid("The upstream ended its stream before every choice was finished.")
        if not self._include_usage:
            return sse.DONE_EVENT
        usage = self.usage
        assert usage is not None
        final: dict[str, Any] = {
            "id": self._id,
            "object": OBJECT,
            "created": self._created,
            "model": self.model,
            "choices": [],
            "usage": self._usage_members | usage.document(),
            **self._tail,
        }
        return sse.event(orjson.dumps(final)) + sse.DONE_EVENT

    def _open(self, chunk: dict[str, Any]) -> None:
        """The first chunk's envelope is the whole stream's."""
        self._id = completion_id(chunk.get("id"), self._now)
        self._created = whole_seconds(chunk.get("created"), self._now)
        model = chunk.get("model")
        if isinstance(model, str) and model:
            self.model = model

    def _take_usage(self, chunk: dict[str, Any]) -> None:
        members = chunk.get("usage")
        if members:
            usage = read_usage(members)
            if usage is not None:
                self._usage, self._usage_members = usage, members
        if "usage" in chunk and not (self._include_usage and self._keep_usage):
            del chunk["usage"]

    def _shape_choices(self, choices: Any) -> bool:
        """Mend each choice in place; False where nothing is left to say."""
        if not isinstance(choices, list):
            raise UpstreamInvalid("The upstream sent a stream event whose choices are no list.")
        for choice in list(choices):
            if not isinstance(choice, dict):
                raise UpstreamInvalid("The upstream sent a choice that is not an object.")
            mend_choice(choice)
            text = choice.get("text")
            if text is None:
                text = choice["text"] = ""
            elif type(text) is not str:
                raise UpstreamInvalid("The upstream sent a choice whose text is no string.")
            if text:
                self._text_bytes += len(text) if text.isascii() else len(text.encode())
                self._pieces += 1
            alone = len(choices) == 1 and not (text and self._finished)
            index = choice["index"] = self._index.of(choice["index"], may_go_on=alone)
            self._started.add(index)
            reason = choice["finish_reason"]
            if index in self._finished:
                choice["finish_reason"] = None
                if not text:
                    choices.remove(choice)
            elif reason is not None:
                self._finished.add(index)
        return bool(choices)
