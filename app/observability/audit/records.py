"""What a request's record holds, and an act's."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, NamedTuple

from app.observability.audit.canonical import Record, plain
from app.observability.audit.chain import now_text, time_text

REQUEST, ACT, GAP, BAD_KEYS = "request", "act", "gap", "bad_keys"
_MILLISECONDS, _MICROSECONDS = "_ms", "_us"
_PURPOSE = b"headgate audit texts of "
MAX_TENANTS = 10_000


class Finished(NamedTuple):
    """One request that is over, as the writer's thread gets it; ``time`` is its end, unix seconds.

    ``sent`` and ``answer`` are the texts of it, as they came and went; None where none are wanted.
    ``shown`` is what of ``sent`` may be kept, where texts are.
    """

    time: float
    facts: dict[str, Any]
    generation: str
    address: str
    sent: bytes | None = None
    shown: bytes | None = None
    answer: tuple[str, ...] = ()


class TextHashes:
    """Keyed hashes of texts, one key a tenant: they show that a text is the same, and no more.

    A plain hash of a short prompt can be guessed; and what two tenants sent must not be comparable.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._of_tenants: dict[str, bytes] = {}

    def of(self, tenant: str, text: bytes) -> str:
        """HMAC-SHA256 of a text under the key of this tenant, in hexadecimal."""
        key = self._of_tenants.get(tenant)
        if key is None:
            if len(self._of_tenants) >= MAX_TENANTS:
                self._of_tenants.clear()
            key = hmac.digest(self._key, _PURPOSE + tenant.encode(), "sha256")
            self._of_tenants[tenant] = key
        return hmac.digest(key, text, "sha256").hex()


def request_record(finished: Finished, hashes: TextHashes | None) -> Record:
    """The record of a request: its facts, times as whole microseconds, texts as keyed hashes."""
    record: Record = {
        "kind": REQUEST,
        "time": time_text(finished.time),
        "generation": finished.generation,
        "address": finished.address,
    }
    for name, value in finished.facts.items():
        if isinstance(value, float):
            if name.endswith(_MILLISECONDS):
                record[name.removesuffix(_MILLISECONDS) + _MICROSECONDS] = round(value * 1000)
            else:
                record[name] = str(value)
        elif value is not None:
            record[name] = plain(value)
    if hashes is not None and finished.sent is not None:
        tenant = finished.facts.get("tenant") or ""
        record["body_hmac"] = hashes.of(tenant, finished.sent)
        if finished.answer:
            record["answer_hmac"] = hashes.of(tenant, "".join(finished.answer).encode())
    return record


def act_record(
    act: str,
    actor: Mapping[str, Any],
    target: str | None = None,
    before: Any = None,
    after: Any = None,
    **more: Any,
) -> Record:
    """The record of an operator's act: who did what to what, and how it was and is."""
    said = {"target": target, "before": before, "after": after, **more}
    return {
        "kind": ACT,
        "act": act,
        "time": now_text(),
        "actor": plain(actor),
        **{name: plain(value) for name, value in said.items() if value is not None},
    }


def gap_record(lost: int, refused: int, since: float) -> Record:
    """Stands where records are missing: how many, and since when (unix seconds)."""
    return {
        "kind": GAP,
        "time": now_text(),
        "since": time_text(since),
        "lost": lost,
        "refused": refused,
    }


def bad_keys_record(count: int, since: float) -> Record:
    """Stands for requests without a valid key that came too fast for a record each."""
    return {"kind": BAD_KEYS, "time": now_text(), "since": time_text(since), "count": count}


def fingerprint(secret: str) -> str:
    """What stands for a secret: enough to tell two apart, too little to guess one by."""
    return f"sha256:{hashlib.sha256(secret.encode()).hexdigest()[:16]}"
