"""The fingerprint of text completions, and of conversations wherever they stand."""

from __future__ import annotations

from app.config.values.patterns import Patterns
from app.openai.completions.request import DEFAULT_MAX_TOKENS, CompletionRequest
from app.openai.json_body import raw_items
from cache.answers.canonical_values import (
    Defaults,
    array,
    decoded,
    member,
    nested,
    number,
    string,
    token_ids,
    value_of,
)
from cache.answers.fingerprint_form import FingerprintForm
from cache.answers.ignored import without_ignored
from cache.answers.normalization import Level, normalized

# These change how an answer is delivered or booked, not what it is; or they stand elsewhere.
_LEFT_OUT = frozenset("model prompt messages stream stream_options user metadata store".split())
# Members of vLLM's by which an answer tells of its prompt, as `echo` does.
SHOWS_PROMPT = frozenset({"prompt_logprobs", "return_token_ids"})

_MESSAGES = string("messages")
_PROMPT = string("prompt")

# OpenAI's; `best_of` being that of one choice.
_DEFAULTS = Defaults(
    {
        "best_of": b"D1:1",
        "echo": b"F",
        "frequency_penalty": b"D1:0",
        "logit_bias": b"O0:",
        "logprobs": b"N",
        "max_tokens": number(b"%d" % DEFAULT_MAX_TOKENS),
        "n": b"D1:1",
        "presence_penalty": b"D1:0",
        "seed": b"N",
        "stop": b"A0:",
        "suffix": b"N",
        "temperature": b"D1:1",
        "top_p": b"D1:1",
    }
)


class Fingerprinter(FingerprintForm):
    """The fingerprints of text completions: one a prompt, exactly one for messages."""

    def members(self, request: CompletionRequest) -> bytes:
        document, raw = request.document, request.raw
        named = _DEFAULTS.named
        pairs = _DEFAULTS.pairs.copy()
        for name, value in document.items():
            if name not in _LEFT_OUT:
                said = member(value, raw[name])
                lone = name == "stop" and type(value) is str
                pairs[name] = named(name, b"A1:" + said if lone else said)
        if "max_completion_tokens" in document and "max_tokens" not in document:
            pairs["max_tokens"] = named("max_tokens", b"N")  # the other limit stands in its place
        if request.n != 1 and "best_of" not in document:
            pairs["best_of"] = named("best_of", number(b"%d" % request.n))
        return _DEFAULTS.whole(pairs)

    def inputs(self, request: CompletionRequest, level: Level) -> list[bytes]:
        ignore = None if self.ignore is None or _shows_prompt(request) else self.ignore
        if request.messages is not None:
            return [messages_form(request.raw["messages"], ignore)]
        prompts = request.prompts
        if ignore is not None:
            prompts = [ignore.without(p) if isinstance(p, str) else p for p in prompts]
        return [
            _PROMPT + (string(normalized(p, level)) if isinstance(p, str) else token_ids(p))
            for p in prompts
        ]

    def before(self, request: CompletionRequest) -> bytes:
        if request.messages is None:
            return b""
        return messages_before(request.raw["messages"], self.ignore)

    def applied(self, request: CompletionRequest) -> Level:
        """``none`` where nothing is normalised: the prompt is no text, or is part of the answer."""
        if request.echo or request.logprobs is not None or request.messages is not None:
            return "none"
        if not SHOWS_PROMPT.isdisjoint(request.document):
            return "none"
        return self._level if type(request.prompts[0]) is str else "none"


def _shows_prompt(request: CompletionRequest) -> bool:
    """Whether the prompt's own text is part of the answer, so that nothing of it is changed."""
    if request.messages is None and (request.echo or request.logprobs is not None):
        return True
    return not SHOWS_PROMPT.isdisjoint(request.document)


def messages_form(raw: bytes | memoryview, ignore: Patterns | None) -> bytes:
    """A conversation, without what an operator declared volatile."""
    if ignore is None:
        return _MESSAGES + nested(raw)
    return _MESSAGES + array([value_of(without_ignored(one, ignore)) for one in decoded(raw)])


def messages_before(raw: bytes | memoryview, ignore: Patterns | None) -> bytes:
    """All messages but the last one, as they stand."""
    before = [decoded(one) for one in raw_items(bytes(raw))[:-1]]
    if ignore is not None:
        before = [without_ignored(message, ignore) for message in before]
    return _MESSAGES + array([value_of(message) for message in before])
