"""The section `admin`: who may use the admin API, and for what."""

from __future__ import annotations

from typing import Literal

from app.config.section import Section

AdminScope = Literal[
    "*",
    "keys:*",
    "keys:read",
    "keys:write",
    "tenants:*",
    "tenants:read",
    "tenants:write",
    "limits:*",
    "limits:read",
    "limits:write",
    "budgets:*",
    "budgets:read",
    "budgets:write",
    "usage:read",
    "config:read",
    "cache:purge",
    "audit:read",
]


class AdminKey(Section, frozen=True):
    id: str
    secret_sha256: tuple[str, ...]
    scopes: tuple[AdminScope, ...]
    tenants: tuple[str, ...] = ()


class Admin(Section, frozen=True):
    keys: tuple[AdminKey, ...] = ()
