"""A gateway's audit log, as an auditor has it before them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from app.observability.audit.checkpoints import Verifier, checkpoints_in, public_key
from app.observability.audit.verify import Report, verify
from tests.harness.gateway import Gateway

SIGNING_KEY = "5a" * 32
TEXT_KEY = "7b" * 32


class Log:
    """The folders of one log, and what stands in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log, self.spool = folder / "log", folder / "spool"

    def settings(self, **more: Any) -> dict[str, Any]:
        return {
            "directory": str(self.log),
            "replica": "edge-1",
            "checkpoints": str(self.folder / "signed"),
            "checkpoint_every": "1s",
            "signing_key": SIGNING_KEY,
            "text_key": TEXT_KEY,
        } | more

    def records(self, **wanted: Any) -> list[dict[str, Any]]:
        """The whole records that have these members, chain by chain."""
        paths = sorted([*self.log.glob("*.jsonl"), *self.spool.glob("*.jsonl")])
        lines = [line for path in paths for line in path.read_bytes().split(b"\n")[:-1]]
        found = [orjson.loads(line) for line in lines]
        return [one for one in found if wanted.items() <= one.items()]

    def verify(self) -> Report:
        key = public_key(bytes.fromhex(SIGNING_KEY))
        signed = checkpoints_in(self.folder / "signed")
        return verify([self.log, self.spool], signed, Verifier(key))


def workers_of(gateway: Gateway) -> list[int]:
    """The processes of a gateway that serve callers."""
    assert gateway._process is not None
    pid = gateway._process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]


def is_recorded(log: Log, request_id: str) -> Callable[[], bool]:
    return lambda: bool(log.records(request_id=request_id))
