"""What a check shows as a JSON schema is what it takes: both are asked about the same values."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema_rs
import pytest

from app.openai.chat.request import FIELDS as CHAT_FIELDS
from app.openai.chat.request import NESTED
from app.openai.completions.request import FIELDS as COMPLETION_FIELDS
from app.openai.embeddings.request import FIELDS as EMBEDDING_FIELDS
from app.openai.messages import messages_problems
from app.openai.shown import or_null, schema_of

TABLES = {"completions": COMPLETION_FIELDS, "chat": CHAT_FIELDS, "embeddings": EMBEDDING_FIELDS}
FIELDS = [(family, name) for family, table in TABLES.items() for name in table]
# Half numbers stand for floats: `1.0` is an integer to JSON Schema, and no token id.
VALUES: list[Any] = [
    *(None, True, False, "", "x", "float", "base64", "x" * 256, "x" * 257, {}, [], [[]], [{}]),
    *(-(2**62), -101, -100, -3, -2.5, -2, -1, 0, 0.5, 1, 1.5, 2, 2.5, 4, 5, 6, 20, 21, 100, 101),
    *(128, 129, 2**62, {"a": 1}, {"a": "1"}, {"a": -101}, {"a": None}, {"a": True}),
    *([1], [-1], [1.5], ["a"], ["a", 1], [""], [[1]], [[1], []], [[-1]], [["a"]], [None], [True]),
    *(["a"] * 4, ["a"] * 5, ["a"] * 64, ["a"] * 65, ["a"] * 2048, ["a"] * 2049, [[1]] * 2049),
    *(["text"], ["text", "audio"], ["audio", "x"], {str(n): "v" for n in range(17)}),
]
NAMED = {"name": "a.tool:1", "description": "d"}
PARTS: list[Any] = [
    {"type": "text", "text": "t"},
    {"type": "refusal", "refusal": "no"},
    {"type": "image_url", "image_url": {"url": "data:,", "detail": "low"}},
    {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    {"type": "file", "file": {"file_id": "f", "filename": "n"}},
    {"type": "file", "file": {"file_data": "AA=="}},
    {"type": "video_url", "video_url": 1},
]
CALLS = [
    {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    {"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}},
]
MESSAGES = [
    *({"role": role, "content": "hi", "name": "n"} for role in ("developer", "system", "user")),
    *({"role": role, "content": PARTS} for role in ("user", "system", "assistant")),
    {"role": "tool", "content": [PARTS[0], PARTS[2]], "tool_call_id": "c"},
    {"role": "function", "name": "f", "content": None},
    {"role": "assistant", "content": [PARTS[0], PARTS[1]]},
    {"role": "assistant", "content": None, "tool_calls": CALLS},
    {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
    {"role": "assistant", "audio": {"id": "a"}, "name": None},
    {"role": "assistant", "refusal": "no", "tool_calls": None},
]
FUNCTION = {**NAMED, "parameters": {"type": "object"}, "strict": True}
GOOD: dict[str, list[Any]] = {
    "messages": [[message] for message in MESSAGES],
    "tools": [
        [{"type": "function", "function": FUNCTION}, {"type": "custom", "custom": NAMED}],
        [{"type": "custom", "custom": NAMED}] * 129,
    ],
    "functions": [[FUNCTION]],
    "tool_choice": [
        "auto",
        {"type": "function", "function": NAMED},
        {"type": "custom", "custom": NAMED},
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{}]}},
    ],
    "function_call": ["none", NAMED],
    "response_format": [
        {"type": "text"},
        {"type": "json_schema", "json_schema": {**NAMED, "schema": {}, "strict": None}},
    ],
    "audio": [{"voice": "alloy", "format": "wav"}, {"voice": {"id": "v"}, "format": "wav"}],
    "prediction": [
        {"type": "content", "content": "t"},
        {"type": "content", "content": [PARTS[0]]},
    ],
}
OTHERS: list[Any] = [None, True, 0, 1.5, "", "x", "text", "user", "a b", [], ["x"], [{}], {}]


def disagreements(schema: dict[str, Any], takes: Callable[[Any], bool], values: Any) -> list[Any]:
    judge = jsonschema_rs.Draft202012Validator(schema)
    return [value for value in values if judge.is_valid(value) != takes(value)]


def mutants(value: Any) -> Iterator[Any]:
    """The value itself, and it with each part in turn replaced or left out."""
    yield value
    for path in paths(value):
        for other in OTHERS:
            yield changed(value, path, lambda owner, at, other=other: owner.__setitem__(at, other))
        if path:
            yield changed(value, path, lambda owner, at: owner.__delitem__(at))


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value[:9])
    for at, item in items if isinstance(value, dict | list) else ():
        yield from paths(item, (*path, at)) if isinstance(item, dict | list) else [(*path, at)]


def changed(value: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    root = [copy.deepcopy(value)]
    owner: Any = root
    for at in (0, *path)[:-1]:
        owner = owner[at]
    change(owner, (0, *path)[-1])
    return root[0]


@pytest.mark.parametrize(("family", "name"), FIELDS)
def test_a_field_takes_what_its_schema_says(family: str, name: str) -> None:
    check = TABLES[family][name]
    values = [value for value in VALUES if (name, value) != ("model", "")]  # refused elsewhere
    assert disagreements(schema_of(check), lambda value: check(value) is None, values) == []


@pytest.mark.parametrize("name", NESTED)
def test_a_part_of_a_chat_takes_what_its_schema_says(name: str) -> None:
    check = NESTED[name]
    schema = schema_of(check)
    tried = [mutant for good in GOOD[name] for mutant in mutants(good)]
    assert any(not check(value) for value in tried)
    assert any(check(value) for value in tried)
    assert disagreements(schema, lambda value: check(value) == [], tried) == []


def test_the_messages_of_completions_are_what_their_schema_says() -> None:
    tried = [mutant for message in MESSAGES for mutant in mutants([message])]
    assert (
        disagreements(schema_of(messages_problems), lambda v: messages_problems(v) == [], tried)
        == []
    )


@pytest.mark.parametrize("name", ["stop", "encoding_format", "seed"])
def test_what_may_be_absent_may_be_null(name: str) -> None:
    check = next(table[name] for table in TABLES.values() if name in table)
    judge = jsonschema_rs.Draft202012Validator(or_null(schema_of(check)))
    good = next(value for value in VALUES if value is not None and check(value) is None)
    assert judge.is_valid(None)
    assert judge.is_valid(good)
    assert not judge.is_valid({"no": "such"})
