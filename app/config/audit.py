"""The settings of the audit log."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from app.config.section import Section
from app.config.values.quantities import Duration, Secret, Size


class Audit(Section, frozen=True):
    directory: str
    replica: str | None = None
    checkpoints: str | None = None
    checkpoint_every: Duration = Duration(10)
    signing_key: Secret | None = None
    text_key: Secret | None = None
    content: str | None = None
    spool: str | None = None
    spool_bytes: Size = Size(256 << 20)
    rotate_bytes: Size = Size(64 << 20)
    rotate_after: Duration = Duration(86_400)
    queue: Annotated[int, Meta(ge=256, le=1_000_000)] = 16_384
    on_full: Literal["drop", "refuse"] = "drop"
    stream: bool = False
    stream_length: Annotated[int, Meta(ge=1000, le=10_000_000)] = 100_000
    retention: Duration = Duration(400 * 86_400)
