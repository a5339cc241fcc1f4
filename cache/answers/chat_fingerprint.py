"""The fingerprint of chat completions. Messages are never normalised: they are taken as they stand."""

from __future__ import annotations

from app.openai.chat.request import LIMITS, ChatRequest
from cache.answers.canonical_values import Defaults, member
from cache.answers.fingerprint import SHOWS_PROMPT, messages_before, messages_form
from cache.answers.fingerprint_form import FingerprintForm
from cache.answers.normalization import Level

# These change how an answer is delivered or booked, not what it is; or they stand elsewhere.
_LEFT_OUT = frozenset(
    "model messages stream stream_options user metadata store safety_identifier prompt_cache_key "
    "max_tokens".split()
)

# OpenAI's. A limit stands under its newer name, whichever it came by.
_DEFAULTS = Defaults(
    {
        "frequency_penalty": b"D1:0",
        "logit_bias": b"O0:",
        "logprobs": b"F",
        "max_completion_tokens": b"N",
        "n": b"D1:1",
        "presence_penalty": b"D1:0",
        "seed": b"N",
        "stop": b"A0:",
        "temperature": b"D1:1",
        "top_p": b"D1:1",
    }
)


class ChatFingerprinter(FingerprintForm):
    """The fingerprints of chat requests: one a conversation."""

    def members(self, request: ChatRequest) -> bytes:
        named = _DEFAULTS.named
        pairs = _DEFAULTS.pairs.copy()
        for name, value in request.document.items():
            if name not in _LEFT_OUT:
                said = member(value, request.raw[name])
                lone = name == "stop" and type(value) is str
                pairs[name] = named(name, b"A1:" + said if lone else said)
        newer, older = LIMITS
        if older in request.document:
            said = member(request.document[older], request.raw[older])
            pairs[newer] = named(newer, said)
        return _DEFAULTS.whole(pairs)

    def applied(self, request: ChatRequest) -> Level:  # noqa: ARG002 - for every request
        return "none"

    def inputs(
        self,
        request: ChatRequest,
        level: Level,  # noqa: ARG002 - nothing is normalised
    ) -> list[bytes]:
        shown = not SHOWS_PROMPT.isdisjoint(request.document)
        return [messages_form(request.raw["messages"], None if shown else self.ignore)]

    def before(self, request: ChatRequest) -> bytes:
        return messages_before(request.raw["messages"], self.ignore)
