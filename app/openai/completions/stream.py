"""A streamed answer on its way through: upstream chunks in, the contract's chunks out.

Pure: fed with decoded events, asked at the end whether the stream was whole. What it guarantees to
whoever reads: one ``id``, a string ``text`` in every choice, one ``finish_reason`` a choice, usage at
the end only, and an end only where every choice was finished.
"""

from __future__ import annotations

from typing import Any

from app.core.errors import UpstreamInvalid
from app.core.reply import Chunk, StreamEnd
from app.core.usage import Usage, read_usage
from app.openai.completions.answer import (
    OBJECT,
    completion_id,
    encode,
    estimate,
    mend_choice,
    whole_seconds,
)
from app.openai.completions.choice_index import ChoiceIndex
from app.openai.completions.request import CompletionRequest

_ENVELOPE = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "error", "system_fingerprint"}
)
_KEPT = ("system_fingerprint",)
_NO_USAGE = b',"usage":null}'  # how the servers that we know say so: as the last member


class StreamShaper:
    """Shapes one stream. Holds counters per choice and the longest estimate needs, never text."""

    __slots__ = (
        "_changed",
        "_created",
        "_finished",
        "_id",
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
        self._keep_usage = request.include_usage and request.continuous_usage
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
        self._changed = False  # whether the chunk at hand differs from its bytes

    @property
    def usage(self) -> Usage | None:
        """What was used so far: the upstream's count, else an estimate of what went by.

        None where nothing went by. A chunk that says something is at least one token.
        """
        if self._usage is not None or not self._started:
            return self._usage
        guess = estimate(self._request, self._text_bytes)
        return guess._replace(completion_tokens=max(guess.completion_tokens, self._pieces))

    def shape(self, chunk: Chunk) -> Chunk | None:
        """One upstream chunk as the contract has it; None where it says nothing to the caller.

        The document is changed in place. Where nothing had to be changed, its bytes stay as they
        came. Raises UpstreamInvalid where the chunk is an error or no completions chunk.
        """
        document = chunk.document
        if not isinstance(document, dict):
            raise UpstreamInvalid("The upstream sent a stream event that is not an object.")
        if document.get("error"):
            raise UpstreamInvalid("The upstream broke off its stream with an error.")
        choices = document.get("choices")
        if choices is None and not document.get("usage"):
            raise UpstreamInvalid("The upstream sent a stream event without choices.")
        payload = chunk.payload
        self._changed = not payload.endswith(b"}")
        if payload.endswith(_NO_USAGE) and not self._keep_usage:
            del document["usage"]
            payload = payload[: -len(_NO_USAGE)] + b"}"
        else:
            self._take_usage(document)
        if not choices:
            if _ENVELOPE.issuperset(document):
                self._tail |= {name: document[name] for name in _KEPT if name in document}
                return None
            self._changed = True
            document["choices"] = []
        elif not self._is_plain_piece(choices) and not self._shape_choices(choices):
            return None
        if self._id is None:
            self._open(document)
        get = document.get
        created = get("created")
        # The type too, because to Python 5.0 and true are equal to 5 and 1, but not to a caller.
        same = created == self._created and type(created) is int
        if not (
            same
            and get("id") == self._id
            and get("model") == self.model
            and get("object") == OBJECT
        ):
            self._changed = True
            document["id"], document["object"] = self._id, OBJECT
            document["created"], document["model"] = self._created, self.model
        if self._keep_usage and not document.get("usage"):
            document.pop("usage", None)
            document["usage"] = None
            self._changed = True
        return Chunk(encode(document) if self._changed else payload, document)

    def end(self, *, said_done: bool = False) -> StreamEnd:
        """How the stream ended.

        An upstream that ``said_done`` is believed where one choice was asked for: as in a plain
        answer, its finish reason stays null. Raises UpstreamInvalid where the stream was cut: a
        choice that began and did not finish, or one that never began.
        """
        expected = self._request.choices if len(self._request.prompts) > 1 else 1
        whole = self._started == self._finished and len(self._finished) >= expected
        if not whole and not (said_done and self._started and self._request.choices == 1):
            raise UpstreamInvalid("The upstream ended its stream before every choice was finished.")
        usage = self.usage
        assert usage is not None
        members = {"usage": self._usage_members | usage.document(), **self._tail}
        return StreamEnd(usage, members)

    def _open(self, chunk: dict[str, Any]) -> None:
        """The first chunk's envelope is the whole stream's."""
        self._id = completion_id(chunk.get("id"), self._now)
        self._created = whole_seconds(chunk.get("created"), self._now)
        model = chunk.get("model")
        if isinstance(model, str) and model:
            self.model = model

    def _take_usage(self, document: dict[str, Any]) -> None:
        members = document.get("usage")
        if members:
            usage = read_usage(members)
            if usage is not None:
                self._usage, self._usage_members = usage, members
        if "usage" in document and not self._keep_usage:
            del document["usage"]
            self._changed = True

    def _is_plain_piece(self, choices: Any) -> bool:
        """Count one more piece of choice 0 that needs no mending, as nearly every chunk is one."""
        if type(choices) is not list or len(choices) != 1 or type(choices[0]) is not dict:
            return False
        get = choices[0].get
        text = get("text")
        if (
            type(text) is not str
            or not text
            or type(get("index")) is not int
            or get("index")
            or get("finish_reason", 0) is not None
            or get("logprobs", 0) is not None
            or self._finished
        ):
            return False
        self._index.of(0)
        self._started.add(0)
        self._text_bytes += len(text) if text.isascii() else len(text.encode())
        self._pieces += 1
        return True

    def _shape_choices(self, choices: Any) -> bool:
        """Mend each choice in place; False where nothing is left to say."""
        if not isinstance(choices, list):
            raise UpstreamInvalid("The upstream sent a stream event whose choices are no list.")
        for choice in list(choices):
            if not isinstance(choice, dict):
                raise UpstreamInvalid("The upstream sent a choice that is not an object.")
            if mend_choice(choice):
                self._changed = True
            text = choice.get("text")
            if text is None:
                text = choice["text"] = ""
                self._changed = True
            elif type(text) is not str:
                raise UpstreamInvalid("The upstream sent a choice whose text is no string.")
            if text:
                self._text_bytes += len(text) if text.isascii() else len(text.encode())
                self._pieces += 1
            alone = len(choices) == 1 and not (text and self._finished)
            given = choice["index"]
            index = choice["index"] = self._index.of(given, may_go_on=alone)
            self._changed = self._changed or index != given
            self._started.add(index)
            reason = choice["finish_reason"]
            if index in self._finished:
                self._changed = True
                choice["finish_reason"] = None
                if not text:
                    choices.remove(choice)
            elif reason is not None:
                self._finished.add(index)
        return bool(choices)
