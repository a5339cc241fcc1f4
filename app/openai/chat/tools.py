"""What is wrong with tools, with the choice among them, and with the form that is asked of an answer.

Source: OpenAI's chat completions endpoint, as openai-python's types have it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from app.core.errors import Problem
from app.openai.chat.messages import MAX_PROBLEMS
from app.openai.chat.schemas import (
    FUNCTION,
    FUNCTION_CALL,
    MAX_TOOLS,
    NAME,
    RESPONSE_FORMAT,
    TOOL,
    TOOL_CHOICE,
    TOOL_CHOICES,
    listed,
)
from app.openai.shown import showing
from app.openai.validators import problem_at

_NAME = re.compile(NAME)
_NAMED_BY = "is required: 1 to 64 letters, digits, `_`, `-`, `.` or `:`"


@showing(listed(TOOL))
def tools_problems(tools: Any) -> list[Problem]:
    """Everything wrong with ``tools``."""
    return _listed(tools, "tools", _tool)


@showing(listed(FUNCTION))
def functions_problems(functions: Any) -> list[Problem]:
    """Everything wrong with ``functions``, the older form of ``tools``."""
    return _listed(functions, "functions", _function)


def _listed(value: Any, name: str, of_one: Any) -> list[Problem]:
    if type(value) is not list:
        return [problem_at(name, "must be a list")]
    if len(value) > MAX_TOOLS:
        return [problem_at(name, f"must hold at most {MAX_TOOLS}, not {len(value)}")]
    found = (p for i, one in enumerate(value) for p in of_one(one, f"{name}[{i}]"))
    return list(islice(found, MAX_PROBLEMS))


def _tool(tool: Any, place: str) -> Iterator[Problem]:
    if type(tool) is not dict:
        yield problem_at(place, "must be an object")
        return
    kind = tool.get("type")
    if kind == "function":
        yield from _function(tool.get(kind), f"{place}.function")
    elif kind == "custom":
        yield from _named(tool.get(kind), f"{place}.custom")
    else:
        yield problem_at(f"{place}.type", "must be one of function, custom")


def _function(function: Any, place: str) -> Iterator[Problem]:
    yield from _named(function, place)
    if type(function) is not dict:
        return
    if function.get("parameters") is not None and type(function["parameters"]) is not dict:
        yield problem_at(f"{place}.parameters", "must be an object: a JSON schema")
    if function.get("strict") is not None and type(function["strict"]) is not bool:
        yield problem_at(f"{place}.strict", "must be true or false")


def _named(said: Any, place: str) -> Iterator[Problem]:
    if type(said) is not dict:
        yield problem_at(place, "must be an object")
        return
    name = said.get("name")
    if type(name) is not str or _NAME.fullmatch(name) is None:
        yield problem_at(f"{place}.name", _NAMED_BY)
    if said.get("description") is not None and type(said["description"]) is not str:
        yield problem_at(f"{place}.description", "must be a string")


@showing(TOOL_CHOICE)
def tool_choice_problems(choice: Any) -> list[Problem]:
    """What is wrong with the form of ``tool_choice``."""
    if type(choice) is str:
        wrong = choice not in TOOL_CHOICES
        return [problem_at("tool_choice", _choice_form())] if wrong else []
    if type(choice) is not dict:
        return [problem_at("tool_choice", _choice_form())]
    kind = choice.get("type")
    if kind in ("function", "custom"):
        return list(_named(choice.get(kind), f"tool_choice.{kind}"))
    if kind == "allowed_tools":
        return list(_allowed_tools(choice.get(kind)))
    return [problem_at("tool_choice.type", "must be one of function, custom, allowed_tools")]


def _choice_form() -> str:
    return f"must be one of {', '.join(TOOL_CHOICES)}, or an object that names a tool"


def _allowed_tools(allowed: Any) -> Iterator[Problem]:
    place = "tool_choice.allowed_tools"
    if type(allowed) is not dict:
        yield problem_at(place, "must be an object")
        return
    if allowed.get("mode") not in ("auto", "required"):
        yield problem_at(f"{place}.mode", "must be one of auto, required")
    tools = allowed.get("tools")
    if type(tools) is not list or any(type(tool) is not dict for tool in tools):
        yield problem_at(f"{place}.tools", "must be a list of objects")


@showing(FUNCTION_CALL)
def function_call_problems(choice: Any) -> list[Problem]:
    """What is wrong with the form of ``function_call``, the older one of ``tool_choice``."""
    if choice in ("none", "auto"):
        return []
    if type(choice) is dict:
        return list(_named(choice, "function_call"))
    return [problem_at("function_call", "must be one of none, auto, or an object with a name")]


@showing(RESPONSE_FORMAT)
def response_format_problems(format: Any) -> list[Problem]:
    """Everything wrong with ``response_format``."""
    if type(format) is not dict:
        return [problem_at("response_format", "must be an object")]
    kind = format.get("type")
    if kind in ("text", "json_object"):
        return []
    if kind != "json_schema":
        why = "must be one of text, json_object, json_schema"
        return [problem_at("response_format.type", why)]
    return list(_schema(format.get("json_schema"), "response_format.json_schema"))


def _schema(said: Any, place: str) -> Iterator[Problem]:
    yield from _named(said, place)
    if type(said) is not dict:
        return
    if said.get("schema") is not None and type(said["schema"]) is not dict:
        yield problem_at(f"{place}.schema", "must be an object: a JSON schema")
    if said.get("strict") is not None and type(said["strict"]) is not bool:
        yield problem_at(f"{place}.strict", "must be true or false")


def unoffered(document: Mapping[str, Any]) -> Iterator[Problem]:
    """What is asked about tools that are not there, where both are right by themselves."""
    tools = document.get("tools")
    if not tools:
        for name in ("tool_choice", "parallel_tool_calls"):
            if name in document:
                yield problem_at(name, "goes only with `tools`")
    else:
        kind, named = _name_of(document.get("tool_choice"))
        if named is not None and named not in _names(tools, kind):
            yield problem_at(f"tool_choice.{kind}.name", f"names no tool: {named!r}")
    functions, called = document.get("functions"), document.get("function_call")
    if called is None:
        return
    if not functions:
        yield problem_at("function_call", "goes only with `functions`")
    elif type(called) is dict and called["name"] not in {f["name"] for f in functions}:
        yield problem_at("function_call.name", f"names no function: {called['name']!r}")


def _name_of(choice: Any) -> tuple[str, str | None]:
    if type(choice) is not dict or choice["type"] == "allowed_tools":
        return "", None
    kind = choice["type"]
    return kind, choice[kind]["name"]


def _names(tools: list[dict[str, Any]], kind: str) -> set[str]:
    return {tool[kind]["name"] for tool in tools if tool["type"] == kind}
