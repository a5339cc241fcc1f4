"""Rules for single fields: a check takes a value and says what is wrong, or None.

Every text completes the sentence "`field` …". Numbers are never clamped. Each check also shows what
it takes as a JSON schema (``shown.py``): GET /openapi.json is made of the tables of checks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Any

from app.core.errors import Problem
from app.openai.shown import Schema, schema_of, showing, shows

Check = Callable[[Any], str | None]

MAX_PROMPTS = 2048
MAX_ALIAS = 256
BEYOND_64_BITS = 2**63
LARGEST = 2**64 - 1  # what the decoder reads as an integer; a larger one it reads as a float
MAX_UNKNOWN = 32  # members that are compared with a missing one
MAX_MISSPELT = 32  # characters of such a name
MAX_STOPS = 64  # editors send a dozen and more; the upstream decides below this bound

# The member by which each endpoint is asked.
_ASKED_BY = {
    "prompt": "/v1/completions",
    "messages": "/v1/chat/completions",
    "input": "/v1/embeddings",
}


def stops_schema(most: int) -> Schema:
    """A text, or at most so many."""
    listed = {"type": "array", "items": {"type": "string"}, "maxItems": most}
    return {"anyOf": [{"type": "string"}, listed]}


def batch_schema(text: Schema) -> Schema:
    """One text or several, or the token ids of one or of several."""
    ids = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
    several = {"type": "array", "minItems": 1, "maxItems": MAX_PROMPTS}
    return {"anyOf": [text, several | {"items": text}, ids, several | {"items": ids}]}


def problem_at(place: str, why: str) -> Problem:
    """What is wrong with the member at a place (``messages[0].role``)."""
    return Problem(place, f"`{place}` {why}.")


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    if high is None:
        return f" of at least {low}"
    return f" from {low} to {high}"


def _between(schema: Schema, low: float | None, high: float) -> Schema:
    return {**schema, **({} if low is None else {"minimum": low}), "maximum": high}


def integer(low: int | None, high: int | None) -> Check:
    message = f"must be an integer{_range(low, high)}"

    def check(value: Any) -> str | None:
        if type(value) is float and value.is_integer() and abs(value) < BEYOND_64_BITS:
            value = int(value)
        if type(value) is not int:
            return message
        if (low is not None and value < low) or (high is not None and value > high):
            return f"{message}, not {value}"
        return None

    return shows(check, _between({"type": "integer"}, low, LARGEST if high is None else high))


def number(low: float, high: float) -> Check:
    message = f"must be a number{_range(low, high)}"

    def check(value: Any) -> str | None:
        if type(value) is not int and type(value) is not float:
            return message
        return None if low <= value <= high else f"{message}, not {value}"

    return shows(check, _between({"type": "number"}, low, high))


@showing({"type": "integer"})
def any_integer(value: Any) -> str | None:
    """An integer of any size; the decoder shows one beyond 64 bits as a float without a fraction."""
    if type(value) is int or (type(value) is float and value.is_integer()):
        return None
    return "must be an integer"


@showing({"type": "boolean"})
def boolean(value: Any) -> str | None:
    return None if type(value) is bool else "must be true or false"


@showing({"type": "string"})
def text(value: Any) -> str | None:
    return None if type(value) is str else "must be a string"


@showing({"type": "string", "minLength": 1, "maxLength": MAX_ALIAS})
def alias(value: Any) -> str | None:
    problem = text(value)
    if problem is None and len(value) > MAX_ALIAS:
        return f"must be at most {MAX_ALIAS} characters long"
    return problem


def one_of(*values: str) -> Check:
    message = f"must be one of {', '.join(values)}"
    allowed = frozenset(values)

    def check(value: Any) -> str | None:
        return None if type(value) is str and value in allowed else message

    return shows(check, {"type": "string", "enum": [*values]})


@showing({"type": "object"})
def optional_object(value: Any) -> str | None:
    return None if type(value) is dict else "must be an object"


def object_of_numbers(low: float, high: float) -> Check:
    message = f"must be an object whose values are numbers{_range(low, high)}"
    single = number(low, high)

    def check(value: Any) -> str | None:
        if type(value) is not dict or any(single(item) is not None for item in value.values()):
            return message
        return None

    return shows(check, {"type": "object", "additionalProperties": schema_of(single)})


@showing(stops_schema(MAX_STOPS))
def stop_problem(value: Any) -> str | None:
    if type(value) is str:
        return None
    if type(value) is not list or any(type(item) is not str for item in value):
        return "must be a string or a list of strings"
    if len(value) > MAX_STOPS:
        return f"must hold at most {MAX_STOPS} strings, not {len(value)}"
    return None


@showing(batch_schema({"type": "string"}))
def prompt_problem(value: Any) -> str | None:
    """A string, a list of strings, a list of token ids, or a list of such lists."""
    if type(value) is str:
        return None
    if type(value) is not list:
        return "must be a string, a list of strings, a list of token ids or a list of such lists"
    if not value:
        return "must not be an empty list"
    kinds = set(map(type, value))
    if kinds == {int}:
        return _token_ids_problem(value)
    if len(value) > MAX_PROMPTS:
        return f"must hold at most {MAX_PROMPTS} prompts, not {len(value)}"
    if kinds == {str}:
        return None
    if kinds == {list}:
        return next((p for p in map(_token_list_problem, value) if p is not None), None)
    return "must hold only strings, only token ids, or only lists of token ids"


def _token_list_problem(value: list[Any]) -> str | None:
    if not value:
        return "must not hold an empty list of token ids"
    if set(map(type, value)) != {int}:
        return "must hold only integers in its lists of token ids"
    return _token_ids_problem(value)


def _token_ids_problem(value: list[int]) -> str | None:
    return "must not hold negative token ids" if min(value) < 0 else None


def meant(missing: str, document: Mapping[str, Any], known: Collection[str]) -> str:
    """A sentence about what was sent instead of a missing member, or nothing.

    That is a member of nearly the same name, or the one by which another endpoint is asked.
    """
    sent = (name for name in document if name not in known and len(name) <= MAX_MISSPELT)
    folded = {name.casefold(): name for name in islice(sent, MAX_UNKNOWN)}
    close = get_close_matches(missing, folded, n=1, cutoff=0.75)
    if close:
        return f" You sent `{folded[close[0]]}`; did you mean `{missing}`?"
    for name, path in _ASKED_BY.items():
        if missing in _ASKED_BY and name in document and name not in known:
            return f" You sent `{name}`; did you mean POST {path}?"
    return ""
