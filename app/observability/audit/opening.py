"""The audit log as a configuration wants it."""

from __future__ import annotations

import os
from pathlib import Path

import orjson

from app.config.audit import Audit
from app.config.values.encryption_key import parse_encryption_key
from app.config.values.quantities import Secret
from app.observability.audit.acts import ACTS, Acts, NotRecorded, position_after
from app.observability.audit.canonical import Record
from app.observability.audit.chain import END, KIND, Writer, new_writer, replica_name
from app.observability.audit.content import Contents
from app.observability.audit.files import chains_in, is_being_written, last_line
from app.observability.audit.records import TextHashes, act_record
from app.observability.audit.requests import RequestAudit
from app.observability.audit.trail import Places, Trail

NOTED = ".noted"  # stands beside a chain whose missing end has been written down


def open_acts(settings: Audit) -> Acts:
    """Where operators' acts on this replica are written down."""
    return Acts(
        Path(settings.directory),
        replica_name(settings.replica),
        rotate_bytes=int(settings.rotate_bytes),
        checkpoints=Path(settings.checkpoints) if settings.checkpoints else None,
        key=_key(settings.signing_key),
    )


def open_requests(settings: Audit) -> RequestAudit:
    """This process's chain of requests. Raises OSError."""
    writer = new_writer(replica_name(settings.replica), f"w{os.getpid()}")
    trail = Trail(writer, _places(settings))
    checkpoints = None
    key = _key(settings.signing_key)
    if settings.checkpoints is not None and key is not None:
        from app.observability.audit.checkpoints import Checkpoints  # noqa: PLC0415 - an extra

        checkpoints = Checkpoints(Path(settings.checkpoints), writer, key)
    text_key = _key(settings.text_key)
    return RequestAudit(
        trail,
        bound=settings.queue,
        refuses=settings.on_full == "refuse",
        hashes=TextHashes(text_key) if text_key is not None else None,
        contents=Contents(Path(settings.content), writer) if settings.content else None,
        checkpoints=checkpoints,
        checkpoint_seconds=float(settings.checkpoint_every),
    )


def note_broken_chains(settings: Audit, acts: Acts) -> None:
    """Write down where chains of this replica break off, whose writers were killed.

    From then on their ends are held by the chain of acts. Raises NotRecorded.
    """
    folders = folders_of(settings)
    try:
        for writer, files in chains_in(*folders).items():
            if writer.replica == acts.writer.replica and writer.worker != ACTS:
                _note(acts, writer, max(files.items())[1], folders[0])
    except OSError as error:
        raise NotRecorded(f"{folders[0]} cannot be read: {error.strerror or error}") from None


def folders_of(settings: Audit) -> tuple[Path, ...]:
    """Where the files of chains are."""
    spool = (Path(settings.spool),) if settings.spool is not None else ()
    return (Path(settings.directory), *spool)


def _note(acts: Acts, writer: Writer, last: Path, folder: Path) -> None:
    mark = folder / f"{writer.name}{NOTED}"
    if mark.exists() or is_being_written(last):
        return
    line, _ = last_line(last)
    if line is None or _is_end(line):
        return
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return  # another process was first
    position = position_after(line)
    record: Record = act_record("audit.broken_off", {"gateway": acts.writer.replica}, writer.name)
    try:
        acts.append([record | {"count": position.length, "tip": position.tip}])
    except NotRecorded:
        mark.unlink()  # the next to start tries again
        raise


def _is_end(line: bytes) -> bool:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(record, dict) and (record.get("kind"), record.get("event")) == (KIND, END)


def _places(settings: Audit) -> Places:
    return Places(
        Path(settings.directory),
        rotate_bytes=int(settings.rotate_bytes),
        rotate_after=float(settings.rotate_after),
        spool=Path(settings.spool) if settings.spool else None,
        spool_bytes=int(settings.spool_bytes),
    )


def _key(secret: Secret | None) -> bytes | None:
    return parse_encryption_key(secret.reveal()) if secret is not None else None
