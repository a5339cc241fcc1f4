"""Imports httpx and structlog without what they import for terminals only.

Both import rich where it is installed, and httpx pygments too, for a command line and for coloured
tracebacks that the gateway has no use for: an eighth of the time that it takes to start. Called
before anything that imports them; whoever asks for rich later gets it.
"""

from __future__ import annotations

import sys
from importlib import import_module

_UNUSED = ("rich", "pygments")
_IMPORTED = ("httpx", "structlog")


def import_lean() -> None:
    hidden = [name for name in _UNUSED if name not in sys.modules]
    for name in hidden:
        # Importing it raises ImportError now.
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        for name in _IMPORTED:
            import_module(name)
    finally:
        for name in hidden:
            del sys.modules[name]
