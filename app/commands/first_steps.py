"""The commands of the first ten minutes: ``init``, ``test``, ``doctor``; and serving without a file."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import click

from app.commands.files import USUAL_FILE, fail, load_text, read_text, required_file
from app.commands.provider_probe import Finding
from app.commands.starter import (
    Dashboard,
    NoUpstream,
    Upstream,
    api_base,
    ask_upstream,
    configuration,
    find_upstreams,
    key_variable,
    upstream_key,
)
from app.core.keys import digest_of, new_secret

AUTO = "auto"
DEFAULT_PORT = 8080
DASHBOARD_PORT = 8081
SHOWN_MODELS = 8
_MARKS = {"ok": "ok  ", "warn": "warn", "bad": "BAD "}


class Made(NamedTuple):
    """A configuration that was made and not read: its text, where it is from, and its first key."""

    text: str
    source: str
    secret: str
    upstream: Upstream | None


def _port_for_dashboard(callers: int) -> int:
    """The usual one, or any that nobody listens on; not the callers'."""
    for port in (DASHBOARD_PORT, 0) if callers != DASHBOARD_PORT else (0,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    return DASHBOARD_PORT


def without_file(
    upstream: str | None, models: tuple[str, ...], host: str | None, port: int | None
) -> Made:
    """What to serve where there is no file; ends with 1 where the upstream cannot be used."""
    listen = DEFAULT_PORT if port is None else port
    found = _upstream(upstream, models, listen) if upstream is not None else None
    secret = new_secret("first")
    # For whoever sits at a terminal: the link there signs in, and nobody knows the key itself.
    dashboard = None
    if sys.stderr.isatty():
        unknown = digest_of(new_secret("first-operator")).hex()
        dashboard = Dashboard(_port_for_dashboard(listen), unknown)
    text = configuration(
        found,
        digest_of(secret).hex(),
        host=host or "127.0.0.1",
        port=listen,
        dashboard=dashboard,
    )
    source = "built-in configuration" if found is None else f"--upstream {found.base_url}"
    return Made(text, source, secret, found)


def greeting(made: Made, base: str) -> list[str]:
    """A key, and a call that works with it."""
    names = ("demo",) if made.upstream is None else made.upstream.models
    lines = [
        "",
        f"  key: {made.secret}",
        "",
        f"  curl {base}/v1/completions -H 'authorization: Bearer {made.secret}' \\",
        "    -H 'content-type: application/json' \\",
        f'    -d \'{{"model": "{names[0]}", "prompt": "Once upon a time"}}\'',
        "",
    ]
    if made.upstream is None:
        return [
            *lines,
            "The model `demo` is a simulator: its text means nothing. It also chats, with tools",
            "(/v1/chat/completions), and embeds (/v1/embeddings).",
            "Your own server: headgate serve --upstream URL. Your own file: headgate init.",
        ]
    more = f" and {len(names) - SHOWN_MODELS} more" if len(names) > SHOWN_MODELS else ""
    return [
        *lines,
        f"Models of {made.upstream.base_url}: {', '.join(names[:SHOWN_MODELS])}{more}",
        "To keep this as a file: headgate init --upstream URL",
    ]


@click.command()
@click.option("--upstream", metavar="URL", help="A server to stand in front of; `auto` finds one.")
@click.option("--model", "models", multiple=True, help="With --upstream: only this model.")
@click.option(
    "--output", "-o", default=USUAL_FILE, show_default=True, type=click.Path(dir_okay=False)
)
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@click.option("--from-litellm", metavar="FILE", help="Translate LiteLLM's config.yaml.")
@click.option("--litellm-keys", metavar="FILE", help="With it: what its GET /key/list answered.")
def init(
    upstream: str | None,
    models: tuple[str, ...],
    output: str,
    force: bool,
    from_litellm: str | None,
    litellm_keys: str | None,
) -> None:
    """Write a first configuration file, commented, with a key for one caller.

    \b
    headgate init                              a simulator, to try things
    headgate init --upstream URL               all models of a server
    headgate init --from-litellm config.yaml   what LiteLLM's file says, and what was left out

    The key's secret is printed once; the file holds its hash. `headgate serve` finds gateway.yaml
    in the working directory by itself. Of LiteLLM's secrets none is copied; with --litellm-keys its
    callers keep their keys, because both know them by their SHA-256.
    """
    file = Path(output)
    if file.exists() and not force:
        fail(f"{output}: is there already; --force replaces it, --output names another")
    if litellm_keys is not None and from_litellm is None:
        fail("--litellm-keys: goes with --from-litellm")
    if from_litellm is not None:
        if upstream is not None:
            fail("--from-litellm: goes without --upstream")
        _translate(from_litellm, litellm_keys, output)
        return
    found = _upstream(upstream, models, DEFAULT_PORT) if upstream is not None else None
    secret = new_secret("first")
    _write(output, configuration(found, digest_of(secret).hex()))
    option = "" if output == USUAL_FILE else f" --config {output}"
    click.echo(secret)
    lines = [f"Wrote {output}. The line above is the first key's secret; it is shown once.", ""]
    if found is not None and found.needs_key:
        lines.append(f"  export {key_variable(found.base_url)}=…    # the upstream's own key")
    lines += [
        f"  export HEADGATE_KEY={secret}",
        f"  headgate check {output}",
        f"  headgate serve{option}",
        "  headgate test              # in another terminal, with HEADGATE_KEY set there",
    ]
    click.echo("\n".join(lines), err=True)


def _write(output: str, text: str) -> None:
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{output}: cannot be written: {error.strerror}")


def _translate(file: str, keys_file: str | None, output: str) -> None:
    """Write what LiteLLM's file says; tell what was left out, and what is needed."""
    from app.commands.litellm.command import translated  # noqa: PLC0415 - others need none of it

    made = translated(file, keys_file)
    _write(output, made.text)
    if made.secret is not None:
        click.echo(made.secret)
    document, left, variables = made.translation
    counts = [f"{len(document.get(name, ()))} {name}" for name in ("providers", "models", "keys")]
    lines = [f"Wrote {output}: {', '.join(counts)}."]
    if made.secret is not None:
        lines.append("The line above is the first key's secret; it is shown once.")
    lines += [f"  export {name}=…" for name in variables]
    lines += [f"  headgate check {output}"]
    lines += ["", f"Not translated ({len(left)}):", *(f"  {line}" for line in left)] if left else []
    click.echo("\n".join(lines), err=True)


@click.command()
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="The gateway.")
@click.option("--key", envvar="HEADGATE_KEY", help="A caller's key; or set HEADGATE_KEY.")
@click.option("--model", help="Ask this model instead of the first one.")
def test(url: str, key: str | None, model: str | None) -> None:
    """Try a running gateway: a plain call, the same again, a streamed one, and one that is refused.

    Spends about forty tokens. Exits with 1 where anything is not as it should be.
    """
    from app.commands.trial import Gateway, NoGateway, try_out  # noqa: PLC0415

    if not key:
        fail("--key: give a caller's key, or set HEADGATE_KEY; `headgate serve` printed one")
    if not key.isascii() or not key.isprintable():
        fail("--key: is not a key: it holds other characters than a key can have")
    good = True
    try:
        for check in try_out(Gateway(url, key), model):
            good = good and check.good
            mark = _MARKS["ok" if check.good else "bad"]
            click.echo(f"{mark}  {check.name:9} {check.seen}")
    except NoGateway as error:
        fail(f"{error}; is the gateway running? --url names its address")
    sys.exit(0 if good else 1)


@click.command()
@click.option("--config", "file", type=click.Path(dir_okay=False), help="The configuration file.")
def doctor(file: str | None) -> None:
    """Look at what the gateway needs: store, providers, clock, descriptors; name what to do.

    Asks the store and each provider once. Exits with 1 where something cannot work.
    """
    from app.commands.doctor import examine  # noqa: PLC0415 - needs redis

    file = required_file(file)
    settings = load_text(read_text(file), file).settings
    sys.exit(0 if show_findings(asyncio.run(examine(settings))) else 1)


def show_findings(findings: Iterable[Finding]) -> bool:
    """Print them; whether nothing that was found cannot work."""
    good = True
    for finding in findings:
        good = good and finding.state != "bad"
        cure = f"\n      -> {finding.cure}" if finding.cure else ""
        click.echo(f"{_MARKS[finding.state]}  {finding.place}: {finding.seen}{cure}")
    return good


def _upstream(url: str, models: tuple[str, ...], own_port: int) -> Upstream:
    """The server that was named, or found; ends with 1 where there is none."""
    if url == AUTO:
        found = find_upstreams(own_port)
        if not found:
            fail("--upstream auto: no vLLM, Ollama, llama.cpp, SGLang or LM Studio answers here")
        name, upstream = found[0]
        others = f" (also here: {', '.join(n for n, _ in found[1:])})" if found[1:] else ""
        click.echo(f"found {name} at {upstream.base_url}{others}", err=True)
        return upstream._replace(models=models) if models else upstream
    try:
        base_url = api_base(url)
        key = upstream_key(base_url)
        if models:
            return Upstream(base_url, models, bool(key))
        return ask_upstream(base_url, key)
    except NoUpstream as error:
        fail(str(error))
