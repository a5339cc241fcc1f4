"""What a record of the audit log costs: ``make bench-audit``.

One request's record, taken as the recorder takes it (on the event loop), and written as the thread
writes it: canonical form, hash, file. CPU time of this process, the best of several rounds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time, thread_time
from typing import Any

from app.audited import Audited
from app.config.audit import Audit
from app.config.values.quantities import Secret
from app.connections.client_address import TrustedProxies
from app.core.exchange import Exchange
from app.core.keys import Key
from app.core.usage import Usage
from app.observability.request_record import Recorder
from cache.quotas.counters import Counters
from cache.store.opening import open_store

REQUESTS = 5_000
ROUNDS = 5


def exchange() -> Exchange:
    """A request as one is that was answered."""
    one = Exchange("0123456789abcdef0123456789abcdef", {}, 0.0)
    one.key = Key("web", "acme", (), frozenset(), frozenset({"native"}), None)
    one.peer, one.body = "192.0.2.7", b"x" * 1024
    outcome = one.outcome
    outcome.operation, outcome.alias, outcome.provider = "completions", "native", "main"
    outcome.model, outcome.status, outcome.cache = "qwen", 200, "miss"
    outcome.usage, outcome.attempts, outcome.first_byte = Usage(250, 60), 1, 0.2
    return one


def microseconds(work: Callable[[], None], clock: Callable[[], float]) -> float:
    """CPU time of one request, at best."""
    best = float("inf")
    for _ in range(ROUNDS):
        before = clock()
        work()
        best = min(best, clock() - before)
    return best / REQUESTS * 1e6


def measure(folder: str, text_key: Secret | None) -> str:
    """What one request costs with a log in this folder."""
    store = open_store("memory://", 1.0)
    settings = Audit(directory=folder, queue=REQUESTS * ROUNDS * 4, text_key=text_key)
    audited = Audited(settings, TrustedProxies(()), store, Counters(store))
    without = Recorder(log=nowhere)
    with_audit = Recorder(log=nowhere, audit=audited.under("0123456789ab"))
    one = exchange()

    def asked(recorder: Recorder) -> None:
        for _ in range(REQUESTS):
            recorder(one)

    def written() -> None:
        asked(with_audit)
        audited.requests.turn()

    off = microseconds(lambda: asked(without), thread_time)
    on = microseconds(lambda: asked(with_audit), thread_time)
    audited.requests.turn()
    both = microseconds(written, process_time)
    size = sum(path.stat().st_size for path in Path(folder).iterdir())
    return (
        f"{on - off:.1f} us on the event loop, {both - on:.1f} us in the thread, "
        f"{size / (REQUESTS * ROUNDS * 2):.0f} bytes a record"
    )


def nowhere(_: dict[str, Any]) -> None:
    """A log that keeps nothing."""


def main() -> None:
    """Print it."""
    for name, text_key in (("without texts", None), ("hashes of 1 KiB", Secret("5a" * 32))):
        with tempfile.TemporaryDirectory() as folder:
            print(f"{name}: {measure(folder, text_key)}")


if __name__ == "__main__":
    main()
