"""``headgate audit``: make its keys, verify it, read it, prune it."""

from __future__ import annotations

import secrets
import sys
from base64 import b64encode
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from time import time
from typing import Any

import click

from app.commands.files import fail, load_text, read_text, required_file
from app.config.audit import Audit
from app.config.settings import Settings
from app.config.values.encryption_key import parse_encryption_key
from app.config.values.quantities import Duration
from app.observability.audit.acts import NotRecorded, this_user
from app.observability.audit.opening import folders_of, open_acts

CONFIG = click.option(
    "--config", "file", type=click.Path(dir_okay=False), help="The configuration file."
)
FOLDER = click.Path(file_okay=False, exists=True, path_type=Path)
NEEDS_EXTRA = "needs an extra: pip install 'headgate[encryption]'"


@click.group()
def audit() -> None:
    """The audit log: who did what, and whether it is all there."""


@audit.command()
def keygen() -> None:
    """Make the keys of an audit log: two secrets for the gateway, and a public key for auditors.

    They are shown once and stored nowhere.
    """
    try:
        from app.observability.audit.checkpoints import public_key  # noqa: PLC0415 - an extra
    except ImportError:
        fail(NEEDS_EXTRA)
    signing = secrets.token_bytes(32)
    click.echo(f"signing_key  {signing.hex()}")
    click.echo(f"text_key     {secrets.token_hex(32)}")
    click.echo(f"public key   {b64encode(public_key(signing)).decode()}   (for `audit verify`)")


@audit.command()
@CONFIG
@click.argument("folders", nargs=-1, type=FOLDER)
@click.option("--checkpoints", type=FOLDER, help="The folder with the signed checkpoints.")
@click.option("--public-key", "key", help="As `headgate audit keygen` printed it.")
@click.option("--strict", is_flag=True, help="End with 1 also where the log tells of a loss.")
def verify(
    file: str | None,
    folders: tuple[Path, ...],
    checkpoints: Path | None,
    key: str | None,
    strict: bool,
) -> None:
    """Say whether every record is there, as and where it was written; ends with 1 where not.

    Reads the folders of the configuration's audit log or, for who has no configuration, the
    FOLDERS that are named (the log's own and its spool).
    """
    public = _public_key(key) if key is not None else None
    if not folders:
        settings = _audit_settings(file)[1]
        folders = folders_of(settings)
        if checkpoints is None and settings.checkpoints is not None:
            checkpoints = Path(settings.checkpoints)
        if public is None and settings.signing_key is not None:
            public = _public_half(settings.signing_key.reveal())
    from app.observability.audit.verify import verify as look  # noqa: PLC0415 - only here

    signed: Iterable[tuple[str, dict[str, Any]]] = ()
    is_signed = None
    if checkpoints is not None:
        try:
            from app.observability.audit.checkpoints import (  # noqa: PLC0415 - an extra
                Verifier,
                checkpoints_in,
            )
        except ImportError:
            fail(NEEDS_EXTRA)
        signed = checkpoints_in(checkpoints)
        is_signed = Verifier(public) if public is not None else None
    try:
        report = look(folders, signed, is_signed)
    except OSError as error:
        fail(f"{error.filename}: cannot be read: {error.strerror}")
    _show(report, is_signed is not None)
    sys.exit(1 if report.findings or (strict and report.notices) else 0)


def _show(report: Any, signatures: bool) -> None:
    for notice in report.notices:
        click.echo(f"notice: {notice}")
    for finding in report.findings:
        click.echo(f"CHANGED: {finding}")
    click.echo(
        f"{report.chains} chains, {report.records} records, {report.checkpoints} checkpoints"
        f"{'' if signatures else ' (signatures not looked at: name --public-key)'}: "
        f"{_counted(len(report.findings))}"
    )


def _counted(findings: int) -> str:
    if not findings:
        return "nothing was changed"
    return f"{findings} finding{'s' if findings > 1 else ''}"


@audit.command()
@CONFIG
@click.option("--since", default="24h", show_default=True, help="How far back: 90m, 24h, 30d.")
@click.option("--kind", type=click.Choice(["request", "act", "gap", "bad_keys", "chain"]))
@click.option("--tenant", help="Only this tenant's requests.")
@click.option("--key", help="Only requests of this key, and acts on it.")
@click.option("--request", "request_id", help="Only this request.")
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True)
def show(
    file: str | None,
    since: str,
    kind: str | None,
    tenant: str | None,
    key: str | None,
    request_id: str | None,
    limit: int,
) -> None:
    """Print records as lines of JSON, oldest first. That they were read is recorded, too."""
    settings, of_audit = _audit_settings(file)
    try:
        span = timedelta(seconds=Duration.parse(since))
    except (ValueError, OverflowError) as error:
        fail(f"--since: {error}")
    asked = {"kind": kind, "tenant": tenant, "key": key, "request_id": request_id}
    record_act(settings, "audit.show", None, since=since, **asked)
    from app.observability.audit.reading import records_since  # noqa: PLC0415 - only here

    found = records_since(folders_of(of_audit), time() - span.total_seconds())
    shown = 0
    for record in found:
        if _matches(record, asked):
            click.echo(record.text)
            shown += 1
            if shown == limit:
                click.echo(f"more than --limit {limit}", err=True)
                return


@audit.command("hash")
@CONFIG
@click.option("--tenant", required=True, help="Whose text it is.")
@click.argument("text", type=click.File("rb"))
def hash_command(file: str | None, tenant: str, text: Any) -> None:
    """Print the keyed hash of a file (- reads standard input), as records have it in `body_hmac`."""
    settings = _audit_settings(file)[1]
    if settings.text_key is None:
        fail("audit.text_key: is not set, so records have no hashes of texts")
    from app.observability.audit.records import TextHashes  # noqa: PLC0415 - only here

    hashes = TextHashes(parse_encryption_key(settings.text_key.reveal()))
    click.echo(hashes.of(tenant, text.read()))


@audit.command()
@CONFIG
@click.option("--older-than", help="Instead of the configuration's `audit.retention`.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def prune(file: str | None, older_than: str | None, dry_run: bool) -> None:
    """Remove files whose records are all older than `audit.retention`, and write down which.

    Whole files only, from the beginning of a chain; `headgate audit verify` accepts a chain that
    begins where this says.
    """
    settings, of_audit = _audit_settings(file)
    try:
        age = float(of_audit.retention if older_than is None else Duration.parse(older_than))
    except ValueError as error:
        fail(f"--older-than: {error}")
    from app.observability.audit.pruning import old_files, remove  # noqa: PLC0415 - only here

    try:
        old = old_files(of_audit, time() - age)
        if old and not dry_run:
            record_act(settings, "audit.prune", None, after=[one.said() for one in old])
            remove(old)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}")
    count = sum(len(one.files) for one in old)
    click.echo(f"{'would remove' if dry_run else 'removed'} {count} files of {len(old)} chains")


def record_act(settings: Settings, act: str, target: str | None, **facts: Any) -> None:
    """Write down what is about to be done, where there is an audit log; else ends with 1."""
    if settings.audit is None:
        return
    try:
        open_acts(settings.audit).record(act, this_user(), target, **facts)
    except NotRecorded as error:
        fail(f"nothing was done: {error}")


def _matches(record: Any, asked: dict[str, str | None]) -> bool:
    of_key = asked["key"]
    for name, value in asked.items():
        if name == "key" or value is None:
            continue
        if record.facts.get(name) != value:
            return False
    return of_key is None or of_key in {record.facts.get("key"), record.facts.get("target")}


def _audit_settings(file: str | None) -> tuple[Settings, Audit]:
    path = required_file(file)
    settings = load_text(read_text(path), path).settings
    if settings.audit is None:
        fail(f"{path}: has no `audit`")
    return settings, settings.audit


def _public_key(text: str) -> bytes:
    try:
        return parse_encryption_key(text)
    except ValueError:
        fail("--public-key: must be 32 bytes in base64, as `headgate audit keygen` prints them")


def _public_half(signing_key: str) -> bytes:
    from app.observability.audit.checkpoints import public_key  # noqa: PLC0415 - an extra

    return public_key(parse_encryption_key(signing_key))
