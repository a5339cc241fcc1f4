"""The tools of a chat request, and which of them the model must use. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from app.providers.translation.problems import Problems


class Tool(NamedTuple):
    """A function: ``parameters`` is its JSON schema, always an object's."""

    name: str
    description: str
    parameters: dict[str, Any]
    strict: bool


class Tools(NamedTuple):
    """``choice``: auto, none, required, or a function's name under ``named``."""

    tools: list[Tool]
    choice: str
    named: str
    parallel: bool


def read_tools(document: Mapping[str, Any], problems: Problems) -> Tools:
    """The tools and the choice between them; what is no function is added to ``problems``."""
    tools = []
    for index, tool in enumerate(document.get("tools") or ()):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or tool.get("type") != "function":
            problems.add(f"tools[{index}]", "must be a function; the provider takes no others")
            continue
        tools.append(
            Tool(
                str(function.get("name")),
                str(function.get("description") or ""),
                function.get("parameters") or {"type": "object", "properties": {}},
                function.get("strict") is True,
            )
        )
    choice = document.get("tool_choice")
    named = ""
    if isinstance(choice, dict):
        if choice.get("type") != "function":
            problems.add("tool_choice", "must be none, auto, required or one function")
        named = str((choice.get("function") or {}).get("name") or "")
        choice = "named"
    parallel = document.get("parallel_tool_calls") is not False
    return Tools(tools, str(choice or "auto"), named, parallel)


def read_schema(document: Mapping[str, Any], problems: Problems) -> dict[str, Any] | None:
    """The ``json_schema`` member of a response format; None where none is asked for.

    ``json_object`` is the caller's to refuse or to honour.
    """
    asked = document.get("response_format")
    if not isinstance(asked, dict) or asked.get("type") != "json_schema":
        return None
    schema = asked.get("json_schema")
    if not isinstance(schema, dict) or not isinstance(schema.get("schema"), dict):
        problems.add("response_format.json_schema", "must carry a `schema`")
        return None
    return schema
