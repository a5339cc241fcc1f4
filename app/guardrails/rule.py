"""A rule, whatever its kind: where it holds, what it looks for, and what it does about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple, Protocol

from app.guardrails.matching.pattern import Pattern
from app.guardrails.matching.scanner import Words

Mode = Literal["block", "redact", "observe"]
Phase = Literal["input", "output"]

# What of a whole text breaks the rule; None: nothing.
Check = Callable[[str], str | None]


class Verdict(NamedTuple):
    """What a rule behind a network says. ``texts`` stand in the place of those that it was sent."""

    action: Literal["allow", "block", "redact"]
    texts: Sequence[str] = ()
    entity: str = ""


class Asked(NamedTuple):
    """For whom a rule behind a network is asked."""

    request_id: str
    phase: Phase
    tenant: str
    key: str
    model: str
    route: str


class RemoteFailure(Exception):
    """A rule behind a network gave no verdict; the text says why, in words of ours."""


class Remote(Protocol):
    """A rule behind a network. Raises RemoteFailure."""

    def __call__(self, asked: Asked, texts: Sequence[str]) -> Awaitable[Verdict]: ...


class Scope(NamedTuple):
    """Where a rule holds: globs, of which one of each sort must match. None given: everywhere."""

    models: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    def covers(self, model: str, tenant: str, key: str) -> bool:
        return all(
            not globs or any(fnmatchcase(name, glob) for glob in globs)
            for globs, name in ((self.models, model), (self.tenants, tenant), (self.keys, key))
        )


class Rule(NamedTuple):
    """``patterns`` and ``words`` are looked for in any text as it comes; ``whole`` reads whole texts,
    and so does ``remote``, which fails closed unless ``fails_open``. ``longest`` is the most
    characters of a text, ``window`` how many of a stream ``remote`` is asked about at once; None: all.
    ``identity`` changes with anything that the rule does."""

    name: str
    kind: str
    mode: Mode
    phases: tuple[Phase, ...]
    scope: Scope
    identity: bytes
    on_request: bool = False
    unscannable: Literal["refuse", "detokenize", "allow"] = "refuse"
    replacement: str | None = None
    patterns: tuple[Pattern, ...] = ()
    words: tuple[Words, ...] = ()
    whole: Check | None = None
    longest: int | None = None
    remote: Remote | None = None
    fails_open: bool = False
    window: int | None = None

    def label(self, entity: str) -> str:
        """What stands for something that was cut out."""
        return f"[{entity.upper()}]" if self.replacement is None else self.replacement

    def says(self, entity: str) -> str:
        """The rule and what it found, as headers and records name it."""
        return self.name if entity in ("", self.name) else f"{self.name}.{entity}"


Definition = Mapping[str, Any]
