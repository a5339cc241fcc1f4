"""Quantities as people write them in a configuration file: ``50ms``, ``1MiB``; and secrets."""

from __future__ import annotations

import re
from typing import Any, NoReturn, Self

MAX_SECONDS = 1e9  # thirty years: longer is a mistake
MAX_DIGITS = 18
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE_UNITS = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30,
}  # fmt: skip
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_NUMBER_AND_UNIT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")


class Duration(float):
    """Seconds. Written as ``50ms``, ``30s``, ``5m``, ``1h30m``, ``7d``, or a number of seconds."""

    expects = "a duration such as 50ms, 30s, 5m or 1h"
    pattern = r"^\s*(\d+(\.\d+)?|(\d+(\.\d+)?(ms|s|m|h|d))+)\s*$"
    examples = ("50ms", "30s", "5m", "1h30m", "7d")

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Raises ValueError saying what would be right."""
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(f"expected {cls.expects}")
        if isinstance(value, str):
            text = value.strip()
            if _NUMBER.fullmatch(text):
                value = float(text)
            elif _DURATION.fullmatch(text):
                parts = _DURATION_PART.findall(text)
                value = sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts)
            else:
                raise ValueError(f"expected {cls.expects}, not {value!r}")
        if not 0 <= value < MAX_SECONDS:
            raise ValueError(f"expected {cls.expects}, not {value!r}")
        return cls(value)


class Size(int):
    """Bytes. Written as ``64KiB``, ``1MiB``, ``10MB``, or a number of bytes."""

    expects = "a size such as 64KiB, 1MiB or a number of bytes"
    pattern = r"^\s*\d+(\.\d+)?\s*([bB]|[kKmMgG][iI]?[bB])?\s*$"
    examples = ("64KiB", "1MiB", "10MB")

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Raises ValueError saying what would be right."""
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return cls(value)
        match = _NUMBER_AND_UNIT.fullmatch(value.strip()) if isinstance(value, str) else None
        unit = _SIZE_UNITS.get(match[2].lower()) if match else None
        if match is None or unit is None or len(match[1]) > MAX_DIGITS:
            raise ValueError(f"expected {cls.expects}, not {str(value)[:40]!r}")
        return cls(float(match[1]) * unit)


class Secret:
    """A text that never shows itself: not in a repr, a log line or a traceback."""

    __slots__ = ("_text",)

    expects = "a text"

    def __init__(self, text: str) -> None:
        self._text = text

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Raises ValueError saying what would be right."""
        if not isinstance(value, str):
            raise ValueError("expected a text; put quotes around it")
        if not value.isprintable() and any("\ud800" <= char <= "\udfff" for char in value):
            raise ValueError("holds half a character (a lone surrogate)")
        return cls(value)

    def reveal(self) -> str:
        """The text itself, for the one place that must send it."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written down")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__
