"""A Messages request as a chat request. Pure.

Source: https://docs.anthropic.com/en/api/messages. What chat has no word for is refused by name; what
only advises Anthropic's servers (``cache_control``, ``context_management``,
``diagnostics``) is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import msgspec
import orjson

from app.core.errors import InvalidRequest, Problem
from app.core.request import Allowance, TargetRules
from app.messages.conversation import Turns, for_any_server
from app.openai.chat import bounds
from app.openai.chat.request import ChatRequest, parse
from app.openai.request_body import Schema, model_problems, read_body
from app.openai.shown import showing
from app.openai.validators import (
    MAX_STOPS,
    Check,
    alias,
    boolean,
    integer,
    number,
    one_of,
    optional_object,
    problem_at,
)


@showing({"type": "array", "items": {"type": "string"}, "maxItems": MAX_STOPS})
def _stops(value: Any) -> str | None:
    if type(value) is not list or any(type(item) is not str for item in value):
        return "must be a list of strings"
    if len(value) > MAX_STOPS:
        return f"must hold at most {MAX_STOPS} strings, not {len(value)}"
    return None


def _said_elsewhere(value: Any) -> list[Problem]:
    return []


FIELDS: dict[str, Check] = {
    "model": alias,
    "max_tokens": integer(1, None),
    "temperature": number(0, 1),
    "top_p": number(0, 1),
    "top_k": integer(0, None),
    "stream": boolean,
    "stop_sequences": _stops,
    "service_tier": one_of("auto", "standard_only"),
    "metadata": optional_object,
    "thinking": optional_object,
    "output_config": optional_object,
    "tool_choice": optional_object,
}
NESTED = dict.fromkeys(("messages", "system", "tools"), _said_elsewhere)
ADVICE = frozenset({"cache_control", "context_management", "diagnostics"})
_NEUTRAL = {"speed": "standard"}
CONTRACT = frozenset(FIELDS) | frozenset(NESTED) | ADVICE

_SCHEMA = Schema(FIELDS, frozenset({"max_tokens", "top_k"}), {}, NESTED)
_SAME = ("temperature", "top_p", "top_k", "stream")
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "xhigh"}
# From how many tokens of thought it is no longer low, and no longer medium.
_MEDIUM, _HIGH = 2048, 8192


class MessagesRequest(ChatRequest):
    """A chat request that is sent in OpenAI's words alone, whatever marks ``document`` has for those
    who translate it."""

    __slots__ = ()

    def replacing(
        self, members: Mapping[str, Any], as_written: Mapping[str, bytes] | None = None
    ) -> Self:
        """The same request with other values of some members: a rule's, or documents put in."""
        if "messages" in members:
            as_written = {**(as_written or {}), "messages": bytes(_plain(members["messages"]))}
        return super().replacing(members, as_written)


def parse_messages(body: bytes) -> ChatRequest:
    """The chat request that a Messages body asks for. Raises InvalidRequest naming what is wrong."""
    document = read_body(body, _SCHEMA)
    asked, problems = document.document, document.problems
    problems += model_problems(asked, CONTRACT)
    if "max_tokens" not in asked:
        text = "`max_tokens` is required: the most tokens to generate."
        problems.append(Problem("max_tokens", text))
    turns = Turns()
    if "system" in asked:
        turns.system(asked["system"])
    turns.take(asked.get("messages"))
    problems += turns.problems
    unknown = [
        problem_at(name, "is not supported here")
        for name in asked
        if name not in CONTRACT and asked[name] not in (None, _NEUTRAL.get(name))
    ]
    chat = {"messages": turns.messages} if problems else _chat(asked, turns, unknown)
    if problems or unknown:
        code = None if problems else "unsupported_parameter"
        raise InvalidRequest.of([*problems, *unknown][:16], code=code)
    return _request(chat, asked.get("stop_sequences") or [])


def bounded(request: ChatRequest, rules: TargetRules, allowance: Allowance) -> ChatRequest:
    """With its limit under the name that the target takes, because a caller of this endpoint cannot
    know it. Raises InvalidRequest."""
    return bounds.bounded(request, rules, allowance._replace(bound=True))


def _request(chat: dict[str, Any], stops: list[str]) -> ChatRequest:
    """The chat request: marked for who translates it, and as OpenAI has it for who is sent it."""
    request = parse(orjson.dumps(chat))
    plain = {"messages": _plain(chat["messages"])}
    more = {"stop": stops} if stops else {}  # clients send more than OpenAI takes
    written = {name: msgspec.Raw(orjson.dumps(value)) for name, value in more.items()}
    return MessagesRequest({**request.document, **more}, {**request.raw, **plain, **written})


def _plain(messages: list[dict[str, Any]]) -> msgspec.Raw:
    return msgspec.Raw(orjson.dumps(for_any_server(messages)))


def _chat(asked: Mapping[str, Any], turns: Turns, unknown: list[Problem]) -> dict[str, Any]:
    chat: dict[str, Any] = {"model": asked["model"], "messages": turns.messages}
    chat["max_completion_tokens"] = asked["max_tokens"]
    chat |= {name: asked[name] for name in _SAME if name in asked}
    if asked.get("service_tier") == "standard_only":
        chat["service_tier"] = "default"
    user = (asked.get("metadata") or {}).get("user_id")
    if type(user) is str and user:
        chat["user"] = user
    chat |= _tools(asked, unknown)
    effort = _effort(asked, unknown)
    if effort is not None:
        chat["reasoning_effort"] = effort
    form = (asked.get("output_config") or {}).get("format")
    if form is not None:
        chat["response_format"] = _form(form, unknown)
    return chat


def _tools(asked: Mapping[str, Any], unknown: list[Problem]) -> dict[str, Any]:
    listed = asked.get("tools")
    if listed is None or listed == []:
        return {}
    if type(listed) is not list or not all(type(tool) is dict for tool in listed):
        unknown.append(problem_at("tools", "must be a list of objects"))
        return {}
    tools = []
    for index, tool in enumerate(listed):
        if tool.get("type") not in (None, "custom"):
            why = "must be custom: tools of Anthropic's own servers are not to be had here"
            unknown.append(problem_at(f"tools[{index}].type", why))
            continue
        function = {"name": tool.get("name"), "parameters": tool.get("input_schema") or {}}
        function |= {name: tool[name] for name in ("description", "strict") if tool.get(name)}
        tools.append({"type": "function", "function": function})
    found: dict[str, Any] = {"tools": tools} if tools else {}
    choice = asked.get("tool_choice") or {}
    kind = choice.get("type")
    if kind == "tool":
        found["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
    elif type(kind) is str and kind in _CHOICES:
        found["tool_choice"] = _CHOICES[kind]
    elif choice:
        unknown.append(problem_at("tool_choice.type", "must be one of auto, any, tool, none"))
    if choice.get("disable_parallel_tool_use") is True:
        found["parallel_tool_calls"] = False
    return found


def _effort(asked: Mapping[str, Any], unknown: list[Problem]) -> str | None:
    """How much to think, in chat's words: a level."""
    level = (asked.get("output_config") or {}).get("effort")
    if level is not None:
        if type(level) is not str or level not in _EFFORTS:
            unknown.append(
                problem_at("output_config.effort", f"must be one of {', '.join(_EFFORTS)}")
            )
            return None
        return _EFFORTS[level]
    thinking = asked.get("thinking") or {"type": "disabled"}
    kind, budget = thinking.get("type"), thinking.get("budget_tokens")
    if kind in ("disabled", "adaptive"):
        return None
    if kind != "enabled" or type(budget) is not int:
        why = "must be disabled, adaptive, or enabled with `budget_tokens`"
        unknown.append(problem_at("thinking.type", why))
        return None
    return "low" if budget < _MEDIUM else "medium" if budget < _HIGH else "high"


def _form(form: Any, unknown: list[Problem]) -> dict[str, Any]:
    schema = form.get("schema") if type(form) is dict else None
    if type(schema) is not dict or form.get("type") != "json_schema":
        unknown.append(problem_at("output_config.format", "must be a json_schema with a `schema`"))
        return {"type": "text"}
    return {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": True},
    }
