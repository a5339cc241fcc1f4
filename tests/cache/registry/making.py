"""Changes as the admin API makes them, for tests."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from cache.registry.objects import Change, Changed, Objects


def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def key_change(name: str, expected: int = 0, *secrets: str, **more: Any) -> Change:
    """A key of the tenant ``acme`` with these secrets, or with one of its own name."""
    digests = [digest_of(secret) for secret in secrets or (f"secret of {name}",)]
    document = {"spec": {"tenant": "acme"}, "secrets": [{"sha256": one} for one in digests]}
    fields = {"tenant": "acme", "digests": digests} | more
    return Change("keys", name, expected, orjson.dumps(document), b"{}", **fields)


def policy_change(kind: str, name: str, expected: int = 0, **spec: Any) -> Change:
    return Change(kind, name, expected, orjson.dumps({"spec": spec}), b"{}")


async def made(objects: Objects, change: Change) -> int:
    """The revision of a change that must be made."""
    done = await objects.change(change)
    assert isinstance(done, Changed), done
    return done.revision
