"""A streamed chat answer on its way through: upstream chunks in, the contract's chunks out.

Pure: fed with decoded events, asked at the end whether the stream was whole. What it guarantees to
the reader: one ``id``, the role in the first delta of each choice and only there, tool calls that
are whole when joined, one ``finish_reason`` a choice, usage at the end only, and an end only where
every choice was finished.
"""

from __future__ import annotations

from typing import Any

from app.core.errors import UpstreamInvalid
from app.core.reply import Chunk, StreamEnd
from app.core.usage import Usage, read_usage
from app.openai.chat.answer import chat_id, estimate, mend_choice, mend_texts, said_bytes
from app.openai.chat.request import ChatRequest
from app.openai.chat.tool_deltas import ToolDeltas
from app.openai.completions.answer import encode, whole_seconds
from app.openai.completions.choice_index import ChoiceIndex

OBJECT = "chat.completion.chunk"

_ENVELOPE = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "error", "system_fingerprint"}
    | {"service_tier", "obfuscation"}
)
_KEPT = ("system_fingerprint", "service_tier")
_NO_USAGE = b',"usage":null}'  # how the servers that we know say so: as the last member


class ChatStreamShaper:
    """Shapes one stream. Holds counters per choice and the longest estimate needs, never text."""

    __slots__ = (
        "_calls",
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

    def __init__(self, request: ChatRequest, model: str, now: int) -> None:
        self._request = request
        self._keep_usage = request.include_usage and request.continuous_usage
        self._now = now
        self._id: str | None = None
        self._created = now
        self.model = model
        self._index = ChoiceIndex(request.n)
        self._calls: dict[int, ToolDeltas] = {}
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
        came. Raises UpstreamInvalid where the chunk is an error or no chat chunk.
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
        if not choices and _ENVELOPE.issuperset(document):
            self._tail |= {name: document[name] for name in _KEPT if name in document}
            return None
        if self._id is None:
            self._open(document)
        if not choices:
            self._changed = True
            document["choices"] = []
        elif not self._shape_choices(choices):
            return None
        self._set(document, "id", self._id)
        self._set(document, "object", OBJECT)
        self._set(document, "created", self._created)
        self._set(document, "model", self.model)
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
        whole = bool(self._finished) and self._started == self._finished
        if not whole and not (said_done and self._started and self._request.n == 1):
            raise UpstreamInvalid("The upstream ended its stream before every choice was finished.")
        usage = self.usage
        assert usage is not None
        members = {"usage": usage.over(self._usage_members), **self._tail}
        return StreamEnd(usage, members)

    def _set(self, document: dict[str, Any], name: str, value: Any) -> None:
        known = document.get(name)
        # The types too, because to Python 5.0 and true are equal to 5 and 1, but not to a caller.
        if known != value or type(known) is not type(value):
            document[name] = value
            self._changed = True

    def _open(self, chunk: dict[str, Any]) -> None:
        """The first chunk's envelope is the whole stream's."""
        self._id = chat_id(chunk.get("id"), self._now)
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

    def _shape_choices(self, choices: Any) -> bool:
        """Mend each choice in place; False where nothing is left to say."""
        if not isinstance(choices, list):
            raise UpstreamInvalid("The upstream sent a stream event whose choices are no list.")
        for choice in list(choices):
            if not isinstance(choice, dict):
                raise UpstreamInvalid("The upstream sent a choice that is not an object.")
            if not self._shape_choice(choice, alone=len(choices) == 1):
                choices.remove(choice)
                self._changed = True
        return bool(choices)

    def _shape_choice(self, choice: dict[str, Any], *, alone: bool) -> bool:
        """Mend one choice; False where it says nothing any more."""
        self._changed = mend_choice(choice) or self._changed
        delta = self._delta_of(choice)
        self._changed = mend_texts(delta) or self._changed
        said = said_bytes(delta)
        self._text_bytes += said
        self._pieces += bool(said)
        given = choice["index"]
        index = self._index.of(given, may_go_on=alone and not (said and self._finished))
        if index != given:
            choice["index"] = index
            self._changed = True
        self._shape_role(delta, first=index not in self._started)
        self._started.add(index)
        if delta.get("tool_calls"):
            calls = self._calls.setdefault(index, ToolDeltas())
            self._changed = calls.shape(delta["tool_calls"], f"{self._id}_{index}") or self._changed
        if index not in self._finished:
            if choice["finish_reason"] is not None:
                self._finished.add(index)
            return True
        if choice["finish_reason"] is not None:
            choice["finish_reason"] = None
            self._changed = True
        return any(delta.values())

    def _delta_of(self, choice: dict[str, Any]) -> dict[str, Any]:
        """What a choice adds. Some servers end with a whole message, or with no delta at all."""
        delta = choice.get("delta")
        if isinstance(delta, dict):
            return delta
        if delta is not None:
            raise UpstreamInvalid("The upstream sent a choice whose delta is no object.")
        message = choice.pop("message", None)
        self._changed = True
        made: dict[str, Any] = message if isinstance(message, dict) else {}
        choice["delta"] = made
        return made

    def _shape_role(self, delta: dict[str, Any], *, first: bool) -> None:
        role = delta.get("role")
        if first:
            if role != "assistant":
                delta["role"] = "assistant"
                self._changed = True
        elif "role" in delta:
            # SDKs join what is repeated: "assistantassistant".
            del delta["role"]
            self._changed = True
