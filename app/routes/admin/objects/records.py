"""An operators' object as it is stored, and as it is shown. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from app.config.settings import BudgetPolicy, CallerKey, LimitPolicy, Tenant
from app.config.values.quantities import Duration
from cache.registry.objects import Stored

EXPIRES_SOON = 7 * 86400.0


class Kind(NamedTuple):
    """One kind of objects: ``name`` in paths, the store and the file, ``one`` for messages."""

    name: str
    one: str
    section: type[msgspec.Struct]


KEYS = Kind("keys", "key", CallerKey)
TENANTS = Kind("tenants", "tenant", Tenant)
LIMITS = Kind("limits", "limits", LimitPolicy)
BUDGETS = Kind("budgets", "budget", BudgetPolicy)

# What a file may say of a key and nobody is shown.
_HIDDEN = frozenset({"id", "secret", "secret_file", "secret_sha256"})


class SecretMark(msgspec.Struct, frozen=True):
    """What is kept of a secret: its digest, how it begins, and until when (unix seconds) it is valid."""

    sha256: str
    prefix: str | None = None
    until: float | None = None


class Record(msgspec.Struct, frozen=True):
    """One object: ``spec`` is what an operator wrote, the rest is kept beside it. Times in unix seconds.

    ``cancels`` says that requests of a blocked key that ran when it was blocked must end.
    """

    spec: dict[str, Any]
    created: float
    created_by: str
    changed: float
    changed_by: str
    secrets: tuple[SecretMark, ...] = ()
    blocked: bool = False
    cancels: bool = False

    @property
    def tenant(self) -> str:
        """Whose key it is; empty for what belongs to no tenant."""
        return str(self.spec.get("tenant", ""))

    @property
    def digests(self) -> list[str]:
        return [mark.sha256 for mark in self.secrets]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


def encoded(record: Record) -> bytes:
    """As the store keeps it."""
    return _encode(record)


def record_of(stored: Stored) -> Record:
    """An object of the store."""
    return _decode(stored.document)


def etag(revision: int | str) -> bytes:
    return f'"{revision}"'.encode()


def shown(
    kind: Kind, name: str, stored: Stored, now: float, *, shadowed: bool = False
) -> dict[str, Any]:
    """An object made at run time; ``shadowed`` where the file has one of this name, which counts."""
    record = record_of(stored)
    document = {
        "object": kind.one,
        "id": name,
        **_with_defaults(kind, record.spec),
        "source": "api",
        "shadowed": shadowed,
        "revision": stored.revision,
        "created": moment(record.created),
        "created_by": record.created_by,
        "changed": moment(record.changed),
        "changed_by": record.changed_by,
    }
    if kind is KEYS:
        marks = [mark for mark in record.secrets if mark.until is None or mark.until > now]
        document["blocked"] = record.blocked
        document["prefix"] = marks[-1].prefix if marks else None
        document["secrets"] = [
            {"prefix": mark.prefix, "until": moment(mark.until) if mark.until else None}
            for mark in marks
        ]
    return document


def shown_of_file(
    kind: Kind, name: str, section: msgspec.Struct, line: str | None
) -> dict[str, Any]:
    """An object of the configuration's file, and where it stands there."""
    spec = {
        field.encode_name: plain(getattr(section, field.name))
        for field in msgspec.structs.fields(kind.section)
    }
    document = {"object": kind.one, "id": name, **_with_defaults(kind, spec)}
    document |= {"source": "file", "line": line, "shadowed": False}
    if kind is KEYS:
        document |= {"blocked": False, "prefix": None}
    return document


def plain(value: Any) -> Any:
    """A setting as JSON has it."""
    if isinstance(value, Duration):
        return float(value)
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, msgspec.Struct):
        fields = msgspec.structs.fields(type(value))
        return {field.encode_name: plain(getattr(value, field.name)) for field in fields}
    return value


def _with_defaults(kind: Kind, spec: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind.section):
        if field.encode_name in _HIDDEN:
            continue
        default = field.default
        if default is msgspec.NODEFAULT:
            factory = field.default_factory
            default = factory() if factory is not msgspec.NODEFAULT else None
        found[field.encode_name] = spec.get(field.encode_name, plain(default))
    return found


def moment(at: float) -> str:
    """Unix seconds as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
