"""Rules that need a text as a whole: its length, what it must look like, its JSON schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from app.guardrails.matching.pattern import compiled
from app.guardrails.rule import Check


def length_check(max_words: int | None, min_characters: int | None) -> Check | None:
    """What of a text's length can be told at its end only. Words are split at white space."""
    if max_words is None and min_characters is None:
        return None

    def check(text: str) -> str | None:
        if max_words is not None and len(text.split(None, max_words)) > max_words:
            return "too_many_words"
        if min_characters is not None and len(text) < min_characters:
            return "too_short"
        return None

    return check


def allow_check(patterns: Sequence[str]) -> Check:
    """A text must match one of these from beginning to end. Raises BadPattern."""
    allowed = [compiled(pattern) for pattern in patterns]

    def check(text: str) -> str | None:
        data = text.encode(errors="replace")
        return None if any(one.fullmatch(data) for one in allowed) else "not_allowed"

    return check


def schema_check(schema: Mapping[str, Any]) -> Check:
    """A text must be JSON that fits a schema. Raises ValueError for what is no schema."""
    import jsonschema_rs  # noqa: PLC0415 - an extra, and five megabytes: only where a rule needs it

    try:
        validator = jsonschema_rs.validator_for(dict(schema))
    except jsonschema_rs.ValidationError as error:
        raise ValueError(f"is no JSON schema: {error.message}") from None

    def check(text: str) -> str | None:
        try:
            document = orjson.loads(text)
        except ValueError:
            return "not_json"
        return None if validator.is_valid(document) else "schema"

    return check
