"""What operators make at run time, read and checked by the same rules as the file's entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from app.config.checks.references import check_key, check_names, check_tenant
from app.config.decoding import Decoder, Fault
from app.config.settings import BudgetPolicy, CallerKey, LimitPolicy, Settings, Tenant

_KINDS: Mapping[str, type] = {
    "keys": CallerKey,
    "tenants": Tenant,
    "limits": LimitPolicy,
    "budgets": BudgetPolicy,
}
_SECRETS = ("secret", "secret_file")  # which only a file may hold


class Read(NamedTuple):
    """An object, or None and everything that is wrong with it; paths are within the object."""

    section: Any
    faults: list[Fault]
    warnings: list[Fault]


def decoded(kind: str, name: str, spec: Mapping[str, Any]) -> Any:
    """An object that was checked before; None where it cannot be read any more."""
    named = {"id": name, **spec} if kind == "keys" else spec
    return Decoder().decode(_KINDS[kind], named)


def read_object(kind: str, name: str, spec: Mapping[str, Any], settings: Settings) -> Read:
    """An object of this name, beside everything that ``settings`` has."""
    faults = [Fault(("id",), problem) for problem in check_names(name)]
    for member in _SECRETS if kind == "keys" else ():
        if member in spec:
            text = "is not taken here: leave it out to get a new one, or send `secret_sha256`"
            faults.append(Fault((member,), text))
    decoder = Decoder()
    known = {member: value for member, value in spec.items() if member not in _SECRETS}
    named = {"id": name, **known} if kind == "keys" else known
    section = decoder.decode(_KINDS[kind], named)
    faults += decoder.faults
    if section is None:
        return Read(None, faults, [])
    more, warnings = _checked(kind, name, section, settings)
    faults += more
    return Read(None if faults else section, faults, warnings)


def _checked(
    kind: str, name: str, section: Any, settings: Settings
) -> tuple[list[Fault], list[Fault]]:
    if kind == "keys":
        return check_key(replace(settings, keys=(section,)))
    tables: dict[str, Mapping[str, Any]] = {
        "tenants": settings.tenants,
        "limits": settings.limits,
        "budgets": settings.budgets,
    }
    beside = replace(settings, keys=(), **{kind: {**tables[kind], name: section}})
    return check_tenant(beside, name) if kind == "tenants" else ([], [])
