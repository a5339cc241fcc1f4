"""``headgate admin``: keys, tenants, limits and budgets of a running gateway, over its admin API."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

import click
import orjson

from app.commands.admin.client import AdminClient, AdminError, quoted
from app.commands.admin.transfer import exported, imported, objects_in
from app.commands.admin.values import lines, members, table
from app.commands.files import fail

DEFAULT_URL = "http://127.0.0.1:9090"
KEY_VARIABLE, URL_VARIABLE = "HEADGATE_ADMIN_KEY", "HEADGATE_ADMIN_URL"


def client_of(url: str | None) -> AdminClient:
    """A client with the operator's key from the environment; ends with 1 where there is none."""
    key = os.environ.get(KEY_VARIABLE)
    if not key:
        fail(f"{KEY_VARIABLE}: set it to an admin key, one of `admin.keys` in the configuration")
    return AdminClient(url or os.environ.get(URL_VARIABLE) or DEFAULT_URL, key)


def asking(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command that asks the API: with --url and --json, and every failure in its own words."""

    @click.option("--url", help=f"The management listener; {URL_VARIABLE}, or {DEFAULT_URL}.")
    @click.option("--json", "as_json", is_flag=True, help="Print the answers as they came.")
    @wraps(command)
    def asked(url: str | None, *, as_json: bool, **options: Any) -> None:
        try:
            command(client_of(url), as_json=as_json, **options)
        except (AdminError, ValueError) as error:
            fail(*str(error).splitlines())

    return asked


@click.group()
def admin() -> None:
    """A running gateway's keys, tenants, limits and budgets, over its admin API.

    \b
    export HEADGATE_ADMIN_KEY=…         one of `admin.keys` in the configuration
    headgate admin keys create web tenant=acme limits=standard
    headgate admin keys block web
    """


def show(document: Any, *, as_json: bool) -> None:
    """Print one object; warnings and what is shown once stand out by their names."""
    if as_json:
        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo("\n".join(lines(document)))


def show_all(kind: str, entries: list[dict[str, Any]], *, as_json: bool) -> None:
    """Print a list, a line an object."""
    if as_json:
        click.echo("\n".join(orjson.dumps(entry).decode() for entry in entries))
    else:
        click.echo("\n".join(table(kind, entries)))


NAMED = click.argument("name", metavar="ID")
GIVEN = click.argument("pairs", metavar="NAME=VALUE…", nargs=-1)


def _path(kind: str, name: str) -> str:
    return f"/{kind}/{quoted(name)}"


def _group(kind: str, one: str) -> click.Group:
    """The commands that every kind of objects has."""
    group = click.Group(kind, help=f"{kind.capitalize()}: those of the file, and those made since.")
    _add_reads(group, kind, one)
    _add_makes(group, kind, one)
    _add_changes(group, kind, one)
    return group


def _add_reads(group: click.Group, kind: str, one: str) -> None:
    @group.command("list", help=f"List {kind}, by id.")
    @click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
    @click.option("--tenant", help="Only this tenant's.", hidden=kind != "keys")
    @asking
    def listing(
        client: AdminClient, limit: int | None, tenant: str | None, *, as_json: bool
    ) -> None:
        entries = list(client.listed(f"/{kind}", {"tenant": tenant}, limit))
        show_all(kind, entries, as_json=as_json)

    @group.command("get", help=f"Show one {one}.")
    @NAMED
    @asking
    def get(client: AdminClient, name: str, *, as_json: bool) -> None:
        show(client.ask("GET", _path(kind, name)).document, as_json=as_json)


def _add_makes(group: click.Group, kind: str, one: str) -> None:
    @group.command("create", help=f"Make a {one}. VALUE is JSON, or a text as it stands.")
    @NAMED
    @GIVEN
    @asking
    def create(client: AdminClient, name: str, pairs: tuple[str, ...], *, as_json: bool) -> None:
        body = {**members(pairs), "id": name}
        show(client.ask("POST", f"/{kind}", body).document, as_json=as_json)

    @group.command(
        "replace", help=f"Make a {one} exactly what is given, whether it is there or not."
    )
    @NAMED
    @GIVEN
    @asking
    def replace(client: AdminClient, name: str, pairs: tuple[str, ...], *, as_json: bool) -> None:
        show(client.ask("PUT", _path(kind, name), members(pairs)).document, as_json=as_json)


def _add_changes(group: click.Group, kind: str, one: str) -> None:
    @group.command("update", help=f"Change only what is given of a {one}; null takes it away.")
    @NAMED
    @GIVEN
    @click.option("--if-match", metavar="REVISION", help="Only if this is still its revision.")
    @asking
    def update(
        client: AdminClient,
        name: str,
        pairs: tuple[str, ...],
        if_match: str | None,
        *,
        as_json: bool,
    ) -> None:
        match = f'"{if_match}"' if if_match is not None else None
        done = client.ask("PATCH", _path(kind, name), members(pairs), if_match=match)
        show(done.document, as_json=as_json)

    @group.command("delete", help=f"Delete a {one}.")
    @NAMED
    @asking
    def delete(client: AdminClient, name: str, *, as_json: bool) -> None:
        show(client.ask("DELETE", _path(kind, name)).document, as_json=as_json)


keys = _group("keys", "key")
budgets = _group("budgets", "budget")


@keys.command()
@NAMED
@click.option("--grace", default="24h", show_default=True, help="How long the old secret is valid.")
@asking
def rotate(client: AdminClient, name: str, grace: str, *, as_json: bool) -> None:
    """Give a key a new secret, which is shown once."""
    done = client.ask("POST", f"/keys/{quoted(name)}/rotate", {"grace": grace})
    show(done.document, as_json=as_json)


@keys.command()
@NAMED
@click.option("--cancel", is_flag=True, help="End its running requests, too.")
@asking
def block(client: AdminClient, name: str, *, cancel: bool, as_json: bool) -> None:
    """Refuse a key from now on, in every replica."""
    query = {"running": "cancel"} if cancel else {}
    done = client.ask("POST", f"/keys/{quoted(name)}/block", query=query)
    show(done.document, as_json=as_json)


@keys.command()
@NAMED
@asking
def unblock(client: AdminClient, name: str, *, as_json: bool) -> None:
    """Let a blocked key call again."""
    show(client.ask("POST", f"/keys/{quoted(name)}/unblock").document, as_json=as_json)


@budgets.command()
@click.argument("scope")
@asking
def account(client: AdminClient, scope: str, *, as_json: bool) -> None:
    """Show what SCOPE has spent: key:ID, tenant:ID or model:TENANT:ALIAS."""
    show(client.ask("GET", f"/budgets/{quoted(scope)}/account").document, as_json=as_json)


@budgets.command()
@click.argument("scope")
@click.argument("usd", type=float)
@asking
def grant(client: AdminClient, scope: str, usd: float, *, as_json: bool) -> None:
    """Let SCOPE spend USD more until its window ends."""
    done = client.ask("POST", f"/budgets/{quoted(scope)}/grant", {"usd": usd})
    show(done.document, as_json=as_json)


@budgets.command()
@click.argument("scope")
@asking
def reset(client: AdminClient, scope: str, *, as_json: bool) -> None:
    """Count what SCOPE spends from nothing on; its usage stays."""
    show(client.ask("POST", f"/budgets/{quoted(scope)}/reset").document, as_json=as_json)


@admin.command()
@asking
def whoami(client: AdminClient, *, as_json: bool) -> None:
    """Show what this admin key may do."""
    show(client.ask("GET", "/whoami").document, as_json=as_json)


@admin.command()
@click.option("--tenant", help="Only this tenant's.")
@click.option("--model", help="Only this alias's.")
@click.option("--namespace", help="Only those of this x-headgate-cache-namespace.")
@asking
def purge(client: AdminClient, *, as_json: bool, **chosen: str | None) -> None:
    """Forget kept answers: everything, or what all given options name together."""
    body = {name: value for name, value in chosen.items() if value is not None}
    show(client.ask("POST", "/cache/purge", body).document, as_json=as_json)


@admin.command()
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@asking
def audit(client: AdminClient, limit: int, *, as_json: bool) -> None:
    """Print who changed what, newest first."""
    show_all("audit", list(client.listed("/audit", most=limit)), as_json=as_json)


@admin.command("export")
@asking
def export_command(client: AdminClient, *, as_json: bool) -> None:
    """Print everything made at run time as lines of JSON: hashes of secrets, no secrets."""
    for line in exported(client):
        click.echo(line)


@admin.command("import")
@click.argument("file", type=click.File("r"))
@asking
def import_command(client: AdminClient, file: Any, *, as_json: bool) -> None:
    """Make what an export (or - for standard input) has, also over what is there.

    A key without `secret_sha256` gets a new secret, which is printed once.
    """
    for done in imported(client, objects_in(file)):
        if as_json:
            click.echo(orjson.dumps(done._asdict()).decode())
        else:
            click.echo(
                f"{done.kind} {done.id}" + (f"  secret {done.secret}" if done.secret else "")
            )


for _part in (keys, budgets, _group("tenants", "tenant"), _group("limits", "set of limits")):
    admin.add_command(_part)
