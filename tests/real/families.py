"""Conversations, tools, vectors and gaps to be filled: a server's own answer and the gateway's."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.openai.completions.fim import TEMPLATES
from tests.app.messages.reading import read_events
from tests.harness.recordings import joined
from tests.real import answers, promises
from tests.real.report import Finding
from tests.real.servers import Endpoint
from tests.real.wire import Answer, ask

OK = 200
USAGE = ("prompt_tokens", "completion_tokens", "total_tokens")
CHAT, EMBEDDINGS, MESSAGES = "/chat/completions", "/embeddings", "/messages"
TOOL = {
    "type": "function",
    "function": {
        "name": "gate",
        "description": "Opens or closes the gate.",
        "parameters": {
            "type": "object",
            "properties": {"open": {"type": "boolean"}},
            "required": ["open"],
        },
    },
}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "gate",
        "schema": {
            "type": "object",
            "properties": {"open": {"type": "boolean"}},
            "required": ["open"],
        },
    },
}


@dataclass(frozen=True, slots=True)
class Conversation:
    """One body for the chat endpoint."""

    name: str
    body: Mapping[str, Any]

    @property
    def streamed(self) -> bool:
        return bool(self.body.get("stream"))


def _said(name: str, **changes: Any) -> Conversation:
    turns = [{"role": "user", "content": "Is the gate open?"}]
    return Conversation(name, {"messages": turns, "max_tokens": 24, "temperature": 0} | changes)


def _both_ways(name: str, **changes: Any) -> list[Conversation]:
    streamed = {"stream": True, "stream_options": {"include_usage": True}}
    return [_said(name, **changes), _said(f"{name}, streamed", **changes, **streamed)]


_TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Is the gate open?"},
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": "Since when?"},
]
_NAMED = {"type": "function", "function": {"name": "gate"}}
CONVERSATIONS = (
    *_both_ways("plain"),
    *_both_ways("several turns", messages=_TURNS),
    *_both_ways("stop", stop=["e"], max_tokens=64),
    *_both_ways("a tool that must be called", tools=[TOOL], tool_choice=_NAMED, max_tokens=64),
    *_both_ways("a schema", response_format=SCHEMA, max_tokens=64),
    _said("logprobs", logprobs=True, top_logprobs=2),
)


def converse(conversation: Conversation, server: Endpoint, gateway: Endpoint | None) -> Finding:
    """The same text, calls, log-probabilities, finish reasons and usage."""
    ask(server, conversation.body, path=CHAT)  # with what the server then has in its cache
    direct = ask(server, conversation.body, path=CHAT)
    if gateway is None:
        return Finding(direct.status == OK, f"directly {direct.status}")
    through = ask(gateway, conversation.body, path=CHAT)
    if direct.status != OK:
        broken = promises.of_an_error(through, max(through.status, 400))
        note = f"the server itself refuses: {direct.status}, {through.status} through the gateway"
        return Finding(not broken, "; ".join(broken) or note)
    if through.status != OK:
        return Finding(False, f"{through.status} through the gateway: {through.body[:300]!r}")
    one, other = _read(conversation, direct), _read(conversation, through)
    note = ""
    if one["usage"] is None:
        note, one["usage"] = "the server sends no usage; the gateway counted", other["usage"]
    found = answers.difference(one, other)
    return Finding(found is None, found or note)


def fill(server: Endpoint, gateway: Endpoint) -> Finding:
    """A ``suffix`` by the model's template, against the same template written by hand."""
    before, after = "def open_gate(", "    return gate\n"
    asked = {"max_tokens": 24, "temperature": 0}
    prompt = TEMPLATES["qwen"].fill(before, after)
    direct = ask(server, {"prompt": prompt, **asked})
    through = ask(gateway, {"prompt": before, "suffix": after, **asked})
    if through.status != OK:
        return Finding(False, f"{through.status} through the gateway: {through.body[:300]!r}")
    found = answers.difference(answers.plain(direct), answers.plain(through))
    broken = [*promises.of_a_plain_answer(through), *([found] if found else [])]
    return Finding(not broken, "; ".join(broken))


def embed(server: Endpoint, gateway: Endpoint) -> Finding:
    """The same numbers for one text, for several, and for one that stands twice."""
    for given in ("the gate", ["the gate", "the keeper", "the gate"]):
        direct = ask(server, {"input": given}, path=EMBEDDINGS)
        through = ask(gateway, {"input": given}, path=EMBEDDINGS)
        if direct.status != OK or through.status != OK:
            return Finding(False, f"directly {direct.status}, {through.status} through the gateway")
        one, other = ([item["embedding"] for item in a.json()["data"]] for a in (direct, through))
        if found := answers.difference(one, other):
            return Finding(False, found[:300])
    return Finding(True, "")


def message(server: Endpoint, gateway: Endpoint) -> Finding:
    """Anthropic's form, plain and streamed, against the server's own chat answer."""
    conversation = _said("as a message")
    asked = {"messages": conversation.body["messages"], "max_tokens": 24, "temperature": 0}
    direct = ask(server, conversation.body, path=CHAT).json()["choices"][0]["message"]["content"]
    plain = ask(gateway, asked, path=MESSAGES)
    streamed = ask(gateway, {**asked, "stream": True}, path=MESSAGES)
    if plain.status != OK or streamed.status != OK:
        return Finding(False, f"{plain.status} and {streamed.status}: {plain.body[:300]!r}")
    texts = [_text(plain.json()), _text(read_events(streamed.body))]
    return Finding(texts == [direct, direct], f"{direct!r} directly, {texts!r}"[:300])


def _text(whole: Mapping[str, Any]) -> str:
    return "".join(block["text"] for block in whole["content"] if block["type"] == "text")


def _read(conversation: Conversation, answer: Answer) -> dict[str, Any]:
    if not conversation.streamed:
        body = answer.json()
        choices = [
            {
                "content": choice["message"].get("content") or "",
                "calls": [_call(call) for call in choice["message"].get("tool_calls") or ()],
                "finish_reason": choice["finish_reason"],
                "logprobs": (choice.get("logprobs") or {}).get("content"),
            }
            for choice in body["choices"]
        ]
        return {"choices": choices, "usage": _usage(body.get("usage"))}
    events = answer.events()
    whole = joined(json.loads(event) for event in events if event != answers.DONE)
    choices = [
        {
            "content": choice["content"],
            "calls": [(c["name"], c["arguments"]) for _, c in sorted(choice["calls"].items())],
            "finish_reason": choice["finish_reason"],
        }
        for _, choice in sorted(whole["choices"].items())
    ]
    ended = bool(events) and events[-1] == answers.DONE
    return {"choices": choices, "usage": _usage(whole["usage"]), "ended": ended}


def _call(call: Mapping[str, Any]) -> tuple[str, str]:
    return call["function"]["name"], call["function"]["arguments"]


def _usage(usage: Any) -> Any:
    return {name: usage[name] for name in USAGE} if usage else None
