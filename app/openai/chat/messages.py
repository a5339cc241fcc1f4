"""What is wrong with a conversation, message by message.

Source: OpenAI's chat completions endpoint, as openai-python's types have it. Parts of a kind that
OpenAI does not have (vLLM's ``video_url``) are the upstream's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from app.core.errors import Problem
from app.openai.chat.schemas import ALL_PARTS, DETAILS, PARTS, ROLES, messages_schema
from app.openai.shown import showing
from app.openai.validators import Check, one_of, problem_at, text

MAX_PROBLEMS = 16  # a caller with thousands of wrong messages sees the rest the next time

_role = one_of(*ROLES)
_detail = one_of(*DETAILS)
_IS_SAID_ELSEWHERE = ("tool_calls", "function_call", "audio", "refusal")


@showing(messages_schema())
def messages_problems(messages: Any) -> list[Problem]:
    """Everything wrong with a ``messages`` member, up to MAX_PROBLEMS."""
    if type(messages) is not list or not messages:
        return [problem_at("messages", "must be a list of at least one chat message")]
    return list(islice(_problems(messages), MAX_PROBLEMS))


def _problems(messages: list[Any]) -> Iterator[Problem]:
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        if type(message) is not dict:
            yield problem_at(place, "must be an object")
            continue
        role = message.get("role")
        why = _role(role)
        if why is not None:
            yield problem_at(f"{place}.role", why)
            role = "user"  # the rest of it can be looked at all the same
        plain = message.keys() == {"role", "content"} and type(message["content"]) is str
        if plain and role not in ("tool", "function"):
            continue
        yield from _content(message, str(role), place)
        yield from _MEMBERS.get(str(role), _named)(message, place)


def _content(message: dict[str, Any], role: str, place: str) -> Iterator[Problem]:
    content = message.get("content")
    where = f"{place}.content"
    if type(content) is str:
        return
    if content is None:
        may_be_absent = role == "function" or (
            role == "assistant" and any(message.get(name) for name in _IS_SAID_ELSEWHERE)
        )
        if not may_be_absent:
            yield problem_at(where, "is required: a string or a list of parts")
    elif type(content) is not list or not content:
        yield problem_at(where, "must be a string or a list of at least one part")
    else:
        for index, part in enumerate(content):
            yield from _part(part, role, f"{where}[{index}]")


def _part(part: Any, role: str, place: str) -> Iterator[Problem]:
    if type(part) is not dict or type(part.get("type")) is not str:
        yield problem_at(place, "must be a part: an object with a `type`")
        return
    kind = part["type"]
    if kind not in ALL_PARTS:
        return
    if kind not in PARTS[role]:
        yield problem_at(f"{place}.type", f"cannot be {kind} in a message of the role {role}")
    elif kind in ("text", "refusal"):
        if type(part.get(kind)) is not str:
            yield problem_at(f"{place}.{kind}", "must be a string")
    elif type(part.get(kind)) is not dict:
        yield problem_at(f"{place}.{kind}", "must be an object")
    else:
        yield from _PART_MEMBERS[kind](part[kind], f"{place}.{kind}")


def _image(image: dict[str, Any], place: str) -> Iterator[Problem]:
    yield from _strings(image, place, "url")
    if image.get("detail") is not None and (why := _detail(image["detail"])) is not None:
        yield problem_at(f"{place}.detail", why)


def _audio(audio: dict[str, Any], place: str) -> Iterator[Problem]:
    yield from _strings(audio, place, "data", "format")


def _file(file: dict[str, Any], place: str) -> Iterator[Problem]:
    if file.get("file_id") is None and file.get("file_data") is None:
        yield problem_at(place, "must have a `file_id` or `file_data`")
    for name in ("file_id", "file_data", "filename"):
        if file.get(name) is not None and type(file[name]) is not str:
            yield problem_at(f"{place}.{name}", "must be a string")


_PART_MEMBERS = {"image_url": _image, "input_audio": _audio, "file": _file}


def _named(message: dict[str, Any], place: str) -> Iterator[Problem]:
    if message.get("name") is not None and type(message["name"]) is not str:
        yield problem_at(f"{place}.name", "must be a string")


def _assistant(message: dict[str, Any], place: str) -> Iterator[Problem]:
    yield from _named(message, place)
    if message.get("refusal") is not None and type(message["refusal"]) is not str:
        yield problem_at(f"{place}.refusal", "must be a string")
    audio = message.get("audio")
    if audio is not None:
        if type(audio) is dict:
            yield from _strings(audio, f"{place}.audio", "id")
        else:
            yield problem_at(f"{place}.audio", "must be an object")
    called = message.get("function_call")
    if called is not None:
        yield from _called(called, f"{place}.function_call", "name", "arguments")
    calls = message.get("tool_calls")
    if calls is None:
        return
    if type(calls) is not list:
        yield problem_at(f"{place}.tool_calls", "must be a list of tool calls")
        return
    for index, call in enumerate(calls):
        yield from _tool_call(call, f"{place}.tool_calls[{index}]")


def _tool_call(call: Any, place: str) -> Iterator[Problem]:
    if type(call) is not dict:
        yield problem_at(place, "must be an object")
        return
    yield from _strings(call, place, "id")
    kind = call.get("type")
    if kind == "function":
        yield from _called(call.get(kind), f"{place}.function", "name", "arguments")
    elif kind == "custom":
        yield from _called(call.get(kind), f"{place}.custom", "name", "input")
    else:
        yield problem_at(f"{place}.type", "must be one of function, custom")


def _called(called: Any, place: str, *names: str) -> Iterator[Problem]:
    if type(called) is dict:
        yield from _strings(called, place, *names)
    else:
        yield problem_at(place, "must be an object")


def _tool(message: dict[str, Any], place: str) -> Iterator[Problem]:
    yield from _named(message, place)
    yield from _strings(message, place, "tool_call_id")


def _function(message: dict[str, Any], place: str) -> Iterator[Problem]:
    yield from _strings(message, place, "name")


_MEMBERS = {"assistant": _assistant, "tool": _tool, "function": _function}


def _strings(found: Mapping[str, Any], place: str, *names: str) -> Iterator[Problem]:
    """What is wrong with members that must be strings."""
    check: Check = text
    for name in names:
        if name not in found or found[name] is None:
            yield problem_at(f"{place}.{name}", "is required: a string")
        elif (why := check(found[name])) is not None:
            yield problem_at(f"{place}.{name}", why)
