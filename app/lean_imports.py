"""Imports what the gateway needs without what comes along and is not used.

httpx and structlog import rich where it is installed, and httpx pygments too, for a command line and
for coloured tracebacks: an eighth of the time that it takes to start. Litestar looks whether pydantic
and attrs are there each time that an application is made, and imports both to offer them: another
quarter, and 20 MB. Whoever asks for one of them later gets it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import ParamSpec, TypeVar

_TERMINALS = ("rich", "pygments")
_IMPORTED = ("httpx", "structlog")
_MODELS = ("pydantic", "attr", "attrs")

P = ParamSpec("P")
T = TypeVar("T")


def import_lean() -> None:
    """Before anything else imports them."""
    with _hidden(*_TERMINALS):
        for name in _IMPORTED:
            import_module(name)


def lean(make: Callable[P, T]) -> Callable[P, T]:
    """``make``, for which pydantic and attrs are not installed unless they are in use already."""

    def made(*args: P.args, **kwargs: P.kwargs) -> T:
        with _hidden(*_MODELS):
            return make(*args, **kwargs)

    return made


@contextmanager
def _hidden(*modules: str) -> Iterator[None]:
    """Importing these raises ImportError meanwhile."""
    hidden = [name for name in modules if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
