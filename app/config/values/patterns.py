"""Patterns of an operator's that run over callers' texts, in time that is linear in the text.

They are RE2's: no back references and no look-around, and no input that takes it long. See
https://github.com/google/re2/wiki/Syntax.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

MAX_PATTERNS = 8
MAX_LENGTH = 256  # characters of a pattern
MAX_MATCHES = 32  # of one pattern in one text: each costs some 5 us, what is over them stays
MAX_MEMORY = 1 << 20  # bytes that RE2 may use for one pattern
INSTALL = "needs an extra: pip install 'headgate[patterns]'"

# Prompts of which nothing is volatile. A pattern that leaves nothing of one would make all prompts one.
_PLAIN = ("How do I feed a wombat in winter?", "Summarize chapter 4 of Emma, please.", "Why?")


class Patterns:
    """What of a text does not count. Raises ValueError for a pattern that cannot be used.

    ``identity`` is equal where the patterns are, and only there.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.identity = list(patterns)
        self._patterns = [compiled(pattern) for pattern in patterns]

    def without(self, text: str) -> str:
        """The text without what the patterns match; the text itself where nothing would be left."""
        try:
            said = text.encode()
        except UnicodeEncodeError:  # half of a surrogate pair: JSON can say it, UTF-8 cannot
            return text
        left = said
        for pattern in self._patterns:
            left = pattern.sub(b"", left, MAX_MATCHES)
        return left.decode() if left is not said and left.strip() else text


def compiled(pattern: str) -> Any:
    """A pattern ready to run. Raises ValueError saying what is wrong, without repeating it whole."""
    if not 0 < len(pattern) <= MAX_LENGTH:
        raise ValueError(f"must be 1 to {MAX_LENGTH} characters")
    try:
        re2 = import_module("re2")
    except ImportError:
        raise ValueError(INSTALL) from None
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_MEMORY
    options.never_capture = True
    try:
        ready = re2.compile(pattern, options=options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        reason = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise ValueError(f"is no pattern of RE2: {reason}") from None
    if ready.match(""):
        raise ValueError("matches nothing at all, so it says nothing: use + instead of *")
    if any(not ready.sub("", text).strip() for text in _PLAIN):
        raise ValueError("matches whole prompts, which would all be one")
    return ready
