"""The commands: ``headgate init | serve | check | test | doctor | schema | usage | routes | cache |
guard | rag | audit | keys``."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

import click
from msgspec.structs import replace

from app import __version__
from app.commands import first_steps
from app.commands.admin.command import admin
from app.commands.audit import audit
from app.commands.files import (
    fail,
    find_file,
    json_text,
    known_name,
    load_text,
    read_text,
    required_file,
    shared_configuration,
)
from app.commands.guard import guard
from app.commands.kept.command import cache
from app.commands.keys import keys
from app.commands.provider_probe import look_at_providers
from app.commands.rag import rag
from app.commands.sections import Sections
from app.commands.tenants import every_tenant
from app.config.loading import Loaded, json_schema
from app.config.values.quantities import Duration
from app.core.errors import GatewayError
from app.core.keys import GATEWAY
from cache.store.base import StoreUnavailable


@click.group(cls=Sections, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="headgate")
def main() -> None:
    """An edge gateway for LLM completions.

    \b
    Try it:               headgate serve
    In front of a server: headgate serve --upstream http://localhost:8000
    With a file:          headgate init && headgate check && headgate serve
    Does it work?         headgate test, headgate doctor
    A key for a caller:   headgate keys new acme-web
    A running gateway:    headgate admin keys list
    """


@main.command()
@click.option("--config", "file", type=click.Path(dir_okay=False), help="The configuration file.")
@click.option("--upstream", metavar="URL", help="Serve this server's models, without a file.")
@click.option("--model", "models", multiple=True, help="With --upstream: only this model.")
@click.option("--host", help="Listen on this address instead of the file's.")
@click.option("--port", type=click.IntRange(0, 65535), help="Listen on this port.")
@click.option("--workers", type=click.IntRange(1, 256), help="Run this many worker processes.")
def serve(
    file: str | None,
    upstream: str | None,
    models: tuple[str, ...],
    host: str | None,
    port: int | None,
    workers: int | None,
) -> None:
    """Run the gateway.

    \b
    headgate serve                                    the file: --config, HEADGATE_CONFIG or
                                                      ./gateway.yaml; without one, a simulator
    headgate serve --upstream http://localhost:8000   all models of that server, cached
    headgate serve --upstream auto                    vLLM, Ollama, llama.cpp, SGLang on this machine

    Without a file it prints a key and a call that works. The upstream's own key is read from
    UPSTREAM_API_KEY (OPENAI_API_KEY for api.openai.com). SIGHUP reads the file anew; a bad file
    changes nothing. SIGTERM waits for load balancers to notice, then finishes running requests;
    SIGINT (Ctrl-C) does not wait.
    """
    if upstream is not None and file is not None:
        fail("--upstream: is for running without a file; leave --config out")
    if models and upstream is None:
        fail("--model: goes with --upstream")
    file = None if upstream is not None else find_file(file)
    if file is None:
        made = first_steps.without_file(upstream, models, host, port)
        text, source = made.text, made.source
    else:
        made, text, source = None, read_text(file), file
    loaded = load_text(text, source, serving=True)
    given = {"host": host, "port": port, "workers": workers}
    changes = {name: value for name, value in given.items() if value is not None}
    server = replace(loaded.settings.server, **changes)
    if server.workers > 1 and loaded.settings.store.url.reveal().startswith("memory:"):
        fail("--workers: more than one worker needs a shared store; set `store.url` to redis://…")
    # Here, so that the other commands start at once.
    from app.serve import Main, free_port  # noqa: PLC0415

    try:
        if server.port == 0:
            server = replace(server, port=free_port(server.host))
        settings = replace(loaded.settings, server=server)
        loaded = loaded._replace(settings=settings)
        gateway = Main(loaded, text, source, file)
    except OSError as error:
        fail(str(error))
    greeting = _greeting(loaded, file, made, gateway.sign_in_link if sys.stderr.isatty() else "")
    for line in greeting:
        gateway.say(line)
    if not gateway.run():
        gateway.say("no worker could start; the lines above say why")
        sys.exit(1)


@main.command()
@click.argument("file", type=click.Path(dir_okay=False), required=False)
@click.option("--connect", is_flag=True, help="Also ask each provider for its models.")
def check(file: str | None, *, connect: bool) -> None:
    """Check a configuration file; print every problem with its line, or that it is right.

    Without FILE: HEADGATE_CONFIG's, or ./gateway.yaml. Exits with 0 where the file can be used
    (warnings do not count), else with 1; with --connect also with 1 where a provider does not
    answer, or not to its key.
    """
    file = required_file(file)
    loaded = load_text(read_text(file), file)
    settings = loaded.settings
    click.echo(
        f"{file}: ok, {len(settings.models)} models, {len(settings.providers)} providers, "
        f"{len(settings.keys)} keys; configuration {loaded.generation}"
    )
    if connect and not first_steps.show_findings(look_at_providers(settings)):
        sys.exit(1)


@main.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors.

    \b
    headgate schema > gateway.schema.json
    and as the first line of gateway.yaml:
    # yaml-language-server: $schema=gateway.schema.json
    """
    click.echo(json_text(json_schema()))


@main.command()
@click.option("--config", "file", type=click.Path(dir_okay=False), help="The configuration file.")
@click.option("--tenant", help="Only this tenant.")
@click.option("--key", "key_id", help="Only this key.")
@click.option("--model", help="Only this alias.")
@click.option("--since", default="24h", show_default=True, help="How far back: 90m, 24h, 30d.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON document, for programs.")
def usage(
    file: str | None,
    tenant: str | None,
    key_id: str | None,
    model: str | None,
    since: str,
    as_json: bool,
) -> None:
    """Print what was used, by tenant, key and model, from the store that the gateways share.

    \b
    headgate usage                             the last day, everybody
    headgate usage --since 30d --tenant acme   one tenant's month
    headgate usage --json | jq '.rows[] | select(.errors > 0)'

    The figures are those of `GET /v1/usage`, which shows a key its own.
    """
    settings = shared_configuration(file).settings
    everybody = every_tenant(settings)
    known_name("--tenant", tenant, everybody, "tenants")
    try:
        span = timedelta(seconds=Duration.parse(since))
    except (ValueError, OverflowError) as error:
        fail(f"--since: {error}")
    tenants = [tenant] if tenant is not None else [*everybody, GATEWAY]

    from app.commands.usage import collect, document, table  # noqa: PLC0415 - needs redis, the others do not

    try:
        rows = asyncio.run(collect(settings.store, tenants, span))
    except StoreUnavailable as error:
        fail(f"the store cannot be reached: {error.detail}")
    # A key or a model that is gone from the file may have been used.
    known_name("--key", key_id, [*(k.id for k in settings.keys), *(r.key for r in rows)], "keys")
    known_name("--model", model, [*settings.models, *(r.model for r in rows)], "models")
    chosen = [row for row in rows if key_id in (None, row.key) and model in (None, row.model)]
    click.echo(json_text(document(chosen, span)) if as_json else "\n".join(table(chosen)))


@main.command()
@click.argument("model")
@click.option("--config", "file", type=click.Path(dir_okay=False), help="The configuration file.")
@click.option("--key", "key_id", help="As this key; the first that may use the model if absent.")
@click.option("--operation", default="completions", show_default=True, help="completions, chat …")
@click.option("--body", default="{}", help="Members of the request, as JSON.")
@click.option("--remaining", type=float, help="Dollars that are left of the budget.")
def routes(
    model: str,
    file: str | None,
    key_id: str | None,
    operation: str,
    body: str,
    remaining: float | None,
) -> None:
    """Print whom a request for MODEL goes to, in which order, and why others are left out.

    With a store that the gateways share it knows which targets are left alone right now. Where the
    picker draws, this is one draw.
    """
    file = required_file(file)
    settings = load_text(read_text(file), file).settings
    known_name("MODEL", model, settings.models, "models")
    from app.commands.routes import explain  # noqa: PLC0415 - needs everything, others do not

    try:
        lines = asyncio.run(explain(settings, model, key_id, operation, body, remaining))
    except StoreUnavailable as error:
        fail(f"the store cannot be reached: {error.detail}")
    except GatewayError as error:
        fail(error.message)
    except ValueError as error:
        fail(str(error))
    click.echo("\n".join(lines))


def _greeting(
    loaded: Loaded, file: str | None, made: first_steps.Made | None, link: str
) -> list[str]:
    """Where the gateway listens, and what to do next; ``link`` opens the dashboard, once."""
    server = loaded.settings.server
    base = f"http://{_reachable(server.host)}:{server.port}"
    lines = [f"Headgate {__version__}, configuration {loaded.generation}, on {base}"]
    if made is None:
        lines.append(
            f"{file}: {len(loaded.settings.models)} models. Try it: headgate test --url {base}"
        )
    else:
        lines += first_steps.greeting(made, base)
    management = server.management
    if link and management is not None:
        page = f"http://{_reachable(management.host)}:{management.port}/dashboard/"
        lines.append(f"Dashboard, signed in once within 15 minutes: {page}#link={link}")
    return [*lines, "Ctrl-C stops it."]


def _reachable(host: str) -> str:
    """An address that a caller on this machine can use, as it stands in a URL."""
    usable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not bound here
    return f"[{usable}]" if ":" in usable else usable


for command in (
    first_steps.init,
    first_steps.test,
    first_steps.doctor,
    cache,
    guard,
    rag,
    audit,
    keys,
    admin,
):
    main.add_command(command)


if __name__ == "__main__":
    main()
