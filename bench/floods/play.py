"""All floods, each against a gateway of its own."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvloop

from bench import gateway, redis_store
from bench.floods import bad_keys, bodies, flapping, flood, full_store, pipelines, silent, unread
from bench.floods.flood import Flood, Target
from bench.processes import Cores, free_port, ready, running
from bench.verdict import Verdict

FLOODS: dict[str, Flood] = {
    one.name: one
    for one in (
        pipelines.FLOOD,
        silent.FLOOD,
        unread.FLOOD,
        bodies.FLOOD,
        bad_keys.FLOOD,
        *full_store.FLOODS,
        flapping.FLOOD,
    )
}
_QUICK_TO_END = {"server": {"shutdown_delay": "0s", "shutdown_grace": "1s"}}
FILES = 2 * silent.CONNECTIONS + 1024  # descriptors that this process or a gateway may need


def play(names: Sequence[str], cores: Cores, verdict: Verdict) -> None:
    """These floods one after the other."""
    for name in names:
        one = FLOODS[name]
        print(f"{name}: {one.about}", flush=True)
        with (
            tempfile.TemporaryDirectory(prefix="flood-") as folder,
            _target(one, cores, Path(folder)) as target,
        ):
            failed = verdict.failed
            uvloop.run(flood.run(one, target, verdict))
            verdict.fact(target.gateway.process.poll() is None, f"{name}: the gateway still runs")
            if verdict.failed > failed:
                print(f"the end of the gateway's log:\n{target.gateway.last_words()}")


@contextmanager
def _target(one: Flood, cores: Cores, folder: Path) -> Iterator[Target]:
    if one.redis is None:
        with _gateway(one, cores, folder, {}) as target:
            yield target
        return
    with (
        redis_store.store(folder, cores.load, *one.redis) as url,
        _gateway(one, cores, folder, {"store": {"url": url}}) as target,
    ):
        yield target


@contextmanager
def _gateway(one: Flood, cores: Cores, folder: Path, store: gateway.Overlay) -> Iterator[Target]:
    upstream_port, port = free_port(), free_port()
    mock = [sys.executable, "-m", "bench.floods.upstream", "--port", str(upstream_port)]
    overlay = gateway.merged(gateway.merged(_QUICK_TO_END, one.overlay), store)
    serve = gateway.command(folder / "gateway", port, upstream_port, overlay)
    with (
        running("upstream", mock, port=upstream_port, core=cores.load, folder=folder) as upstream,
        running("headgate", serve, port=port, core=cores.test, folder=folder) as child,
    ):
        ready(upstream, "/")
        ready(child, "/health/ready")
        yield Target(child)
