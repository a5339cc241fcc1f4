"""POST /v1/chat/completions, directly and through the gateway: the same answers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.real import answers
from tests.real.report import Finding
from tests.real.servers import Endpoint
from tests.real.wire import Answer, ask

PATH = "/chat/completions"
ASKED: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "the gate"},
    ],
    "max_tokens": 12,
    "temperature": 0,
}
STREAM: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


@dataclass(frozen=True, slots=True)
class ChatQuestion:
    """One chat body."""

    name: str
    body: Mapping[str, Any]


QUESTIONS = (
    ChatQuestion("plain", ASKED),
    ChatQuestion("streamed", ASKED | {"stream": True}),
    ChatQuestion("streamed with usage", ASKED | STREAM),
    ChatQuestion("logprobs", ASKED | {"logprobs": True, "top_logprobs": 2}),
    ChatQuestion("logprobs, streamed", ASKED | {"logprobs": True, "top_logprobs": 2} | STREAM),
    ChatQuestion("n", ASKED | {"n": 2, "temperature": 1, "seed": 7}),
    ChatQuestion("stop and the server's own members", ASKED | {"stop": ["e"], "top_k": 5}),
)


def compare(asked: ChatQuestion, server: Endpoint, gateway: Endpoint) -> Finding:
    """Equal but for the id and the time."""
    direct = ask(server, asked.body, path=PATH)
    through = ask(gateway, asked.body, path=PATH)
    if through.status != direct.status:
        return Finding(False, f"{direct.status} and {through.status}: {through.body[:300]!r}")
    fold = _folded if asked.body.get("stream") else answers.plain
    found = answers.difference(fold(direct), fold(through))
    return Finding(found is None, found or "")


def _folded(answer: Answer) -> dict[str, Any]:
    *events, last = answer.events()
    text = ""
    tokens: list[Any] = []
    reasons: list[str] = []
    usage = []
    for chunk in map(json.loads, events):
        if chunk.get("usage"):
            usage.append(chunk["usage"])
        for choice in chunk["choices"]:
            text += choice["delta"].get("content") or ""
            tokens += (choice.get("logprobs") or {}).get("content") or ()
            reasons += [choice["finish_reason"]] if choice.get("finish_reason") else []
    return {"text": text, "tokens": tokens, "reasons": reasons, "usage": usage, "last": last}
