"""The guardrails in the inner chain, with the cache between them, over a handler that says anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pytest

from app.config.decoding import Decoder
from app.config.settings import Settings
from app.core.call import Call
from app.core.family import Family
from app.core.reply import Answer, Chunk, ReplyWriter, StreamEnd
from app.guardrails.plan import GuardPlans
from app.openai.said import said_in
from app.policy.caching import CachePlans
from app.policy.guardrails import make_guardrails, rule_of
from app.routes.chat import CHAT
from app.routes.completions import COMPLETIONS
from middleware.input_guardrails import InputGuardrails
from middleware.output_guardrails import OutputGuardrails
from middleware.response_cache import ResponseCache
from tests.cache.serving.serving import Worker, plans_of
from tests.harness.chain import ALIAS, KEY, ORIGIN, USAGE, Door, in_loop, turns

FAMILIES = {"completions": COMPLETIONS, "chat": CHAT}
EMAIL = "bob.smith@example.com"
SECRET = "AKIA" + "IOSFODNN7" + "QWERTY2"  # of the form of an AWS access key; nobody's
BLOCK = {"no-secrets": {"kind": "secrets"}}
REDACT = {"pii": {"kind": "pii", "mode": "redact"}}


class Counted:
    """Counts what the layers count."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def add(self, name: str, labels: Mapping[str, str], amount: int = 1) -> None:
        said = ",".join(labels[label] for label in sorted(labels))
        self.counts[f"{name}:{said}"] = self.counts.get(f"{name}:{said}", 0) + amount


class Speaking:
    """Answers every call with the same choice, streamed ``step`` characters a chunk.

    ``text`` is what it says; ``members`` stand beside it in the message (chat) or choice.
    """

    def __init__(self, text: str = "fine", step: int = 3, **members: Any) -> None:
        self.text = text
        self.step = step
        self.members = members
        self.calls: list[Call] = []
        self.sent = 0

    async def __call__(self, call: Call, reply: ReplyWriter) -> None:
        self.calls.append(call)
        call.outcome.usage = USAGE
        await turns(20)  # for those who would follow
        chat = call.family is CHAT
        count = call.request.choices  # type: ignore[attr-defined]
        if not call.request.stream:
            await reply.answer(ORIGIN, self._plain(chat, count))
            return
        await reply.begin(ORIGIN)
        for index in range(count):
            await self._stream(chat, index, reply)
        await reply.finish(StreamEnd(USAGE, {"usage": USAGE.document()}))

    def _plain(self, chat: bool, count: int) -> Answer:
        choices = []
        for index in range(count):
            said = {"message": {"role": "assistant", "content": self.text} | self.members}
            own = {"text": self.text} | self.members
            end = {"index": index, "logprobs": None, "finish_reason": "stop"}
            choices.append(end | (said if chat else own))
        body = _envelope(chat, chunk=False) | {"choices": choices, "usage": USAGE.document()}
        return Answer(orjson.dumps(body), ORIGIN.model, USAGE)

    async def _stream(self, chat: bool, index: int, reply: ReplyWriter) -> None:
        pieces = [self.text[at : at + self.step] for at in range(0, len(self.text), self.step)]
        ends = {"index": index, "logprobs": None, "finish_reason": None}
        head = _envelope(chat, chunk=True)
        said: list[dict[str, Any]] = [{"text": piece} for piece in pieces]
        if chat:
            said = [{"delta": {"role": "assistant", "content": ""}}]
            said += [{"delta": {"content": piece}} for piece in pieces]
            said += [{"delta": members} for members in self._pieces()]
        else:
            said += [{"text": "", **members} for members in self._pieces()]
        last = {"delta": {}} if chat else {"text": ""}
        for piece in said:
            self.sent += 1
            await reply.write([Chunk.of(head | {"choices": [ends | piece]})])
        finished = ends | last | {"finish_reason": "stop"}
        await reply.write([Chunk.of(head | {"choices": [finished]})])

    def _pieces(self) -> list[dict[str, Any]]:
        """The other members in pieces."""
        pieces: list[dict[str, Any]] = []
        for name, value in self.members.items():
            if isinstance(value, str):
                cut = range(0, len(value), self.step)
                pieces += [{name: value[at : at + self.step]} for at in cut]
            elif name == "tool_calls":
                for number, one in enumerate(value):
                    function = one["function"]
                    first = {**one, "index": number, "function": function | {"arguments": ""}}
                    pieces.append({name: [first]})
                    written = function["arguments"]
                    pieces += [
                        {name: [{"index": number, "function": {"arguments": part}}]}
                        for part in (
                            written[at : at + self.step] for at in range(0, len(written), self.step)
                        )
                    ]
        return pieces


class Guarded:
    """The layers of a configuration's rules, with the cache between them."""

    def __init__(
        self,
        inner: Any,
        *,
        held: int = 1 << 18,
        cached: bool = True,
        plans: CachePlans | None = None,
        **rules: Any,
    ) -> None:
        self.counted = Counted()
        self.inner = inner
        self.worker = Worker()
        self.recorded: list[Call] = []
        self.detokenize: Any = None
        self.background = self.worker.services.background
        self.output = OutputGuardrails(
            inner, counts=self.counted, background=self.background, max_buffer=held
        )
        cache = ResponseCache(
            self.output,
            services=self.worker.services,
            plan_of=(plans or plans_of()).of_call,
            verifier=None,  # type: ignore[arg-type]
            recorder=self.recorded.append,
        )
        self._next = cache if cached else self.output
        self.rules(**rules)

    def rules(self, **rules: Any) -> None:
        """Change the configuration, as a reload does: the cache stays."""
        plans = plans_with(**rules)
        self.handler = InputGuardrails(
            self._next,
            plans=plans,
            counts=self.counted,
            background=self.background,
            detokenizer_of=lambda _: self.detokenize,
        )

    async def ask(self, family: str = "completions", headers: Any = None, **members: Any) -> Door:
        body = question(family) | {"model": ALIAS, "temperature": 0} | members
        door = Door(headers, KEY, FAMILIES[family], **body)
        return await door.through(self.handler)


def plans_with(**rules: Any) -> GuardPlans:
    """The plans of some rules; names may have ``_`` for ``-``."""
    named = {name.replace("_", "-"): rule for name, rule in rules.items()}
    decoder = Decoder()
    settings = decoder.decode(Settings, {"guardrails": named})
    assert not decoder.faults, decoder.faults
    return make_guardrails(settings.guardrails, lambda _: None).plans  # type: ignore[arg-type,return-value]


def rule_with(name: str = "rule", **section: Any) -> Any:
    decoder = Decoder()
    settings = decoder.decode(Settings, {"guardrails": {name: section}})
    assert not decoder.faults, decoder.faults
    return rule_of(name, settings.guardrails[name])


def question(family: str, text: str = "hello") -> dict[str, Any]:
    """The body of a request that asks this."""
    if family == "chat":
        return {"messages": [{"role": "user", "content": text}]}
    return {"prompt": text}


def events(door: Door) -> list[dict[str, Any]]:
    """The chunks of a streamed answer, without its end mark."""
    payloads = [line.removeprefix("data: ") for line in door.body.decode().split("\n\n") if line]
    return [orjson.loads(payload) for payload in payloads if payload != "[DONE]"]


def said(door: Door) -> dict[str, str]:
    """The texts of an answer by their places, whichever shape it came in."""
    plain = door.headers[b"content-type"] == b"application/json"
    documents: Sequence[dict[str, Any]] = [orjson.loads(door.body)] if plain else events(door)
    texts: dict[str, str] = {}
    for document in documents:
        for one in said_in(document):
            steps = [str(step) for step in one.path if step not in ("message", "delta")]
            place = ".".join([str(one.choice), *steps])
            texts[place] = texts.get(place, "") + one.text
    return {place: text for place, text in texts.items() if text}


def family_of(name: str) -> Family:
    return FAMILIES[name]


def _envelope(chat: bool, *, chunk: bool) -> dict[str, Any]:
    kind = ("chat.completion.chunk" if chunk else "chat.completion") if chat else "text_completion"
    return {
        "id": "chatcmpl-1" if chat else "cmpl-1",
        "object": kind,
        "created": 1_600_000_000,
        "model": ORIGIN.model,
    }


both = pytest.mark.parametrize("family", ["completions", "chat"])
shapes = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
LONG = "Nothing to see here, and it goes on for a while. " * 12


def ask(chain: Guarded, family: str = "completions", **members: Any) -> Any:
    return in_loop(lambda: chain.ask(family, **members))


def is_blocked(door: Any) -> bool:
    """Whether an answer was refused, at its beginning or in the midst of its stream."""
    last = events(door)[-1] if door.status == 200 else orjson.loads(door.body)
    code: str = last["error"]["code"]
    return code == "guardrail_blocked" and b"[DONE]" not in door.body


def said_so_far(door: Any) -> dict[str, str]:
    """The texts of a stream that was broken off."""
    texts: dict[str, str] = {}
    for chunk in events(door)[:-1]:
        for one in said_in(chunk):
            place = ".".join(map(str, (one.choice, *one.path[1:])))
            texts[place] = texts.get(place, "") + one.text
    return texts


def error_of(door: Any) -> dict[str, Any]:
    error: dict[str, Any] = orjson.loads(door.body)["error"]
    return error
