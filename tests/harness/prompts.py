"""What the tests ask: every prompt holds a word whose appearance in a log line is a leak."""

from __future__ import annotations

import itertools
import os

PRIVATE = "wombat"
PROMPT = f"tell me of a {PRIVATE}"

_numbers = itertools.count()


def unseen() -> str:
    """A prompt that nobody asked before."""
    return f"{PROMPT} {unseen_name()}"


def unseen_name() -> str:
    """A name that nothing has yet, in any process."""
    return f"{os.getpid()}-{next(_numbers)}"
