"""What the simulator says in a conversation: words, a tool call, or JSON of the form asked for.

It calls a tool where the user speaks and tools are offered, and answers in words once the tool has
answered, so that a whole round can be tried. Arguments and JSON are made from their schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from app.providers.simulator.text import Token, generate, pieces_of, plain_tokens

MOST_TOKENS = 4096  # where the request names no limit
MAX_DEPTH = 8  # of what is made from a schema
MAX_ITEMS = 16
_CALL_OVERHEAD = 3  # tokens of a tool call besides its arguments
_ARGUMENTS = {"function": "arguments", "custom": "input"}


class ToolCall(NamedTuple):
    """One tool call: its kind (``function`` or ``custom``), its tool, and its arguments in pieces."""

    kind: str
    name: str
    arguments: list[str]


class ChatChoice(NamedTuple):
    """One finished choice: words or a call, and why it ended."""

    tokens: list[Token]
    call: ToolCall | None
    finish_reason: str

    @property
    def size(self) -> int:
        """Its length in tokens."""
        called = len(self.call.arguments) + _CALL_OVERHEAD if self.call is not None else 0
        return len(self.tokens) + called


def message(choice: ChatChoice, id: str) -> dict[str, Any]:
    """The message of a plain answer."""
    called = choice.call
    if called is None:
        text = "".join(token.text for token in choice.tokens)
        return {"role": "assistant", "content": text, "refusal": None}
    arguments = "".join(called.arguments)
    call: dict[str, Any] = {"id": id, "type": called.kind, called.kind: _said_by(called, arguments)}
    if choice.finish_reason == "function_call":
        said: dict[str, Any] = {"function_call": call["function"]}
    else:
        said = {"tool_calls": [call]}
    return {"role": "assistant", "content": None, "refusal": None, **said}


def deltas(choice: ChatChoice, id: str) -> Iterator[tuple[dict[str, Any], list[Token]]]:
    """The deltas of a stream, each with the tokens that it says."""
    called = choice.call
    yield {"role": "assistant", "content": None if called else "", "refusal": None}, []
    for token in choice.tokens:
        yield {"content": token.text}, [token]
    if called is None:
        return
    older = choice.finish_reason == "function_call"
    for position, piece in enumerate(["", *called.arguments]):
        first = position == 0
        said = _said_by(called, piece) if first else {_ARGUMENTS[called.kind]: piece}
        head = {"index": 0, "id": id, "type": called.kind} if first else {"index": 0}
        yield (
            ({"function_call": said} if older else {"tool_calls": [{**head, called.kind: said}]}),
            [],
        )


def _said_by(call: ToolCall, arguments: str) -> dict[str, str]:
    return {"name": call.name, _ARGUMENTS[call.kind]: arguments}


def logprobs(document: Mapping[str, Any], tokens: list[Token]) -> dict[str, Any] | None:
    """The log-probabilities of some tokens; None where they are not asked for."""
    if not document.get("logprobs") or not tokens:
        return None
    entries = [
        {
            "token": token.text,
            "logprob": token.logprob,
            "bytes": list(token.text.encode()),
            "top_logprobs": [
                {"token": text, "logprob": value, "bytes": list(text.encode())}
                for text, value in token.top.items()
            ],
        }
        for token in tokens
    ]
    return {"content": entries, "refusal": None}


def conversation(document: Mapping[str, Any]) -> str:
    """A conversation as one text, for counting and as what the answer depends on."""
    return "".join(_said(message) for message in document["messages"])


def choices(document: Mapping[str, Any]) -> list[ChatChoice]:
    """Every choice of a chat request."""
    return [_choice(document, i) for i in range(document.get("n") or 1)]


def _choice(document: Mapping[str, Any], i: int) -> ChatChoice:
    call = _call(document)
    if call is not None:
        return ChatChoice([], call, "function_call" if "functions" in document else "tool_calls")
    limit = document.get("max_completion_tokens") or document.get("max_tokens") or MOST_TOKENS
    text = _formatted(document.get("response_format"))
    if text is not None:
        tokens = plain_tokens(text)
        return ChatChoice(tokens[:limit], None, "stop" if len(tokens) <= limit else "length")
    asked = {**document, "logprobs": document.get("top_logprobs", 0), "max_tokens": limit}
    made = generate(asked, conversation(document), i)
    return ChatChoice(made.generated, None, made.finish_reason)


def _said(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or f"<{part['type']}>" for part in content)


def _call(document: Mapping[str, Any]) -> ToolCall | None:
    """The call to make, where the user has spoken and there is a tool to call."""
    if document["messages"][-1]["role"] != "user":
        return None
    functions = [{"type": "function", "function": f} for f in document.get("functions") or ()]
    choice = document.get("tool_choice", document.get("function_call"))
    for tool in [*(document.get("tools") or ()), *functions]:
        kind = tool["type"]
        said = tool[kind]
        if _may_call(said["name"], choice):
            if kind == "custom":
                return ToolCall(kind, said["name"], ["a ", "simulated ", "input"])
            arguments = orjson.dumps(_made(said.get("parameters") or {})).decode()
            return ToolCall(kind, said["name"], pieces_of(arguments))
    return None


def _may_call(name: str, choice: Any) -> bool:
    if not isinstance(choice, dict):
        return bool(choice != "none")
    if choice.get("type") == "allowed_tools":
        allowed = choice["allowed_tools"]["tools"]
        return any(name == (tool.get(tool.get("type")) or tool).get("name") for tool in allowed)
    named = choice.get(choice.get("type")) or choice
    return bool(named.get("name") == name)


def _formatted(form: Any) -> str | None:
    """JSON of the form asked for; None where words will do."""
    kind = form["type"] if isinstance(form, dict) else "text"
    if kind == "json_object":
        return '{"answer":"simulated"}'
    if kind == "json_schema":
        return orjson.dumps(_made(form["json_schema"].get("schema") or {})).decode()
    return None


def _made(schema: Any, depth: int = 0) -> Any:
    """A value that a JSON schema allows, as far as its plain keywords go."""
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return None
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    if schema.get("enum"):
        return schema["enum"][0]
    for name in ("anyOf", "oneOf"):
        if schema.get(name):
            return _made(schema[name][0], depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object":
        members = schema.get("properties") or {}
        return {name: _made(member, depth + 1) for name, member in members.items()}
    if kind == "array":
        return [_made(schema.get("items"), depth + 1)] * _count(schema.get("minItems"))
    values: dict[str, Any] = {"integer": 7, "number": 0.5, "boolean": True, "null": None}
    return values.get(str(kind), "simulated")


def _count(least: Any) -> int:
    return min(max(1, least), MAX_ITEMS) if type(least) is int else 1
