"""What the types of the audit log's settings cannot say: keys, folders, and what goes together."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path as FilePath

from app.config.audit import Audit
from app.config.checks.targets import Found
from app.config.values.encryption_key import parse_encryption_key

MIN_FILE_BYTES = 64 << 10


def audit_faults(audit: Audit, store_url: str) -> Iterator[Found]:
    """What is wrong with it, or odd."""
    yield from _keys(audit)
    yield from _folders(audit)
    if audit.rotate_bytes < MIN_FILE_BYTES:
        yield Found(("rotate_bytes",), "must be at least 64KiB")
    if audit.rotate_after < 60:
        yield Found(("rotate_after",), "must be at least 1m")
    if audit.checkpoint_every < 1:
        yield Found(("checkpoint_every",), "must be at least 1s")
    if audit.stream and store_url.startswith("memory:"):
        yield Found(("stream",), "needs a store that others can read; set `store.url` to redis://…")


def _keys(audit: Audit) -> Iterator[Found]:
    for name in ("signing_key", "text_key"):
        secret = getattr(audit, name)
        try:
            if secret is not None:
                parse_encryption_key(secret.reveal())
        except ValueError as error:
            yield Found((name,), str(error))
    if audit.signing_key is not None and find_spec("cryptography") is None:
        yield Found(("signing_key",), "needs an extra: pip install 'headgate[encryption]'")
    if (audit.signing_key is None) != (audit.checkpoints is None):
        missing = "signing_key" if audit.signing_key is None else "checkpoints"
        yield Found((missing,), "is missing: `signing_key` and `checkpoints` go together")
    elif audit.signing_key is None:
        yield Found(
            (),
            "has no `signing_key` and `checkpoints`, so whoever can write the folder can write the "
            "whole log anew, unseen; `headgate audit keygen` makes a key",
            warns=True,
        )
    if audit.text_key is not None and audit.text_key == audit.signing_key:
        yield Found(("text_key",), "must differ from `signing_key`")


def _folders(audit: Audit) -> Iterator[Found]:
    taken: dict[FilePath, str] = {}
    for name in ("directory", "checkpoints", "spool", "content"):
        folder = getattr(audit, name)
        if folder is None:
            continue
        if not folder.strip():
            yield Found((name,), "expected the path of a folder")
        first = taken.setdefault(FilePath(folder).absolute(), name)
        if first != name:
            yield Found((name,), f"must be another folder than `{first}`")
