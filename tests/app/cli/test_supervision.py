"""How the main process keeps its workers: they come back, and none outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.supervision.backoff import Backoff

ROOT = Path(__file__).parents[3]  # where a sitecustomize finds the code
TWO = {"workers": 2, "store": "redis://127.0.0.1:1"}  # two workers need a store, if not a good one
BROKEN_START = """\
import app.services
def start(self):
    raise RuntimeError("no store of this kind here")
app.services.Services.start = start
"""


BLOCKING = """\
import time
import app.providers.simulator.text as simulation
generate = simulation.generate
def block(document, prompt, choice):
    if prompt == "block":
        time.sleep(600)
    return generate(document, prompt, choice)
simulation.generate = block
"""


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def refused(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0


def listeners(port: int) -> int:
    """How many sockets listen at a port of 127.0.0.1."""
    wanted = f"0100007F:{port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(1 for line in lines if line[1] == wanted and line[3] == "0A")


def test_waits_double_up_to_half_a_minute() -> None:
    backoff = Backoff()
    assert [backoff.after(1.0) for _ in range(10)] == [0, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_steady_life_is_followed_by_a_start_at_once() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.after(1.0)
    assert [backoff.after(60.0), backoff.after(1.0)] == [0, 0.5]


# Workers that die


def test_a_worker_that_dies_again_and_again_comes_back(serve: Any, config: Any, until: Any) -> None:
    gateway = serve("--config", config().path).ready()
    for _ in range(3):
        [worker] = gateway.workers()
        os.kill(worker, signal.SIGKILL)
        until(lambda w=worker: gateway.workers() not in ([], [w]), "a new worker starts")
        gateway.ready()
    assert gateway.complete(model="first").status_code == 200
    gateway.err.wait("ended by SIGKILL; a new one starts in 1s")


def test_a_connection_waits_for_the_worker_that_comes_back(serve: Any, config: Any) -> None:
    gateway = serve("--config", config().path).ready()
    [worker] = gateway.workers()
    os.kill(worker, signal.SIGKILL)
    gateway.err.wait("a new one starts now")
    assert gateway.get("/health/live").status_code == 200


def test_one_worker_that_keeps_dying_costs_the_others_nothing(
    serve: Any, config: Any, until: Any
) -> None:
    gateway = serve("--config", config(**TWO).path).ready()
    until(lambda: len(gateway.workers()) == 2, "both workers start")
    kept, dying = gateway.workers()
    for times in (1, 2, 3):
        os.kill(dying, signal.SIGKILL)
        gateway.err.wait("a new one starts", times=times)
        if times < 3:
            until(lambda: len(gateway.workers()) == 2, "the worker comes back")
            [dying] = set(gateway.workers()) - {kept}
    # The kernel gives nothing to a worker that is not there, nor to one that still starts.
    assert listeners(gateway.port) == 1
    until(lambda: len(gateway.workers()) == 2, "the worker comes back")
    until(lambda: listeners(gateway.port) == 2, "it listens")


def test_a_start_that_fails_everywhere_ends_with_its_reason(
    serve: Any, config: Any, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(BROKEN_START)
    gateway = serve("--config", config(**TWO).path, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert gateway.wait() == 1
    assert "no store of this kind here" in gateway.out.text()
    assert gateway.err.all()[-1] == "no worker could start; the lines above say why"


def test_a_hung_worker_is_replaced(serve: Any, config: Any, until: Any) -> None:
    gateway = serve("--config", config(worker_timeout="2s").path).ready()
    [worker] = gateway.workers()
    os.kill(worker, signal.SIGSTOP)
    gateway.err.wait(f"(pid {worker}) did not answer for")
    until(lambda: not alive(worker), "the hung worker is gone")
    assert gateway.complete(model="first").status_code == 200


def test_a_worker_whose_loop_is_blocked_is_replaced(
    serve: Any, config: Any, until: Any, tmp_path: Path
) -> None:
    """The server below it goes on taking connections, so that only the loop's silence tells."""
    (tmp_path / "sitecustomize.py").write_text(BLOCKING)
    file = config(worker_timeout="2s")
    gateway = serve("--config", file.path, PYTHONPATH=f"{tmp_path}:{ROOT}").ready()
    [worker] = gateway.workers()
    with pytest.raises(httpx.HTTPError):
        gateway.complete(model="first", prompt="block")
    gateway.err.wait(f"(pid {worker}) did not answer for")
    assert gateway.complete(model="first").status_code == 200


def test_a_worker_is_not_blamed_for_the_time_that_its_main_stood_still(
    serve: Any, config: Any
) -> None:
    gateway = serve("--config", config(worker_timeout="2s").path).ready()
    workers = gateway.workers()
    gateway.signal(signal.SIGSTOP)
    time.sleep(3)  # longer than a worker may be silent
    gateway.signal(signal.SIGCONT)
    time.sleep(1)  # several looks at what is heard
    assert gateway.workers() == workers


# The main process that ends


def test_workers_end_with_a_main_process_that_is_killed(
    serve: Any, config: Any, until: Any
) -> None:
    gateway = serve("--config", config(**TWO).path).ready()
    until(lambda: len(gateway.workers()) == 2, "both workers start")
    workers = gateway.workers()
    gateway.signal(signal.SIGKILL)
    until(lambda: refused(gateway.port), "listening ends")
    until(lambda: not any(map(alive, workers)), "the workers end")


def test_a_stream_may_end_after_the_main_process_was_killed(serve: Any, config: Any) -> None:
    gateway = serve("--config", config().path).ready()
    with gateway.stream(tokens=30) as (_, events):
        gateway.signal(signal.SIGKILL)
        assert list(events)[-1] == "data: [DONE]"


def test_an_orphan_does_not_listen_while_it_ends(serve: Any, config: Any, until: Any) -> None:
    gateway = serve("--config", config().path).ready()
    [worker] = gateway.workers()
    with gateway.stream(tokens=60) as (_, events):
        gateway.signal(signal.SIGKILL)
        until(lambda: refused(gateway.port), "listening ends")
        assert alive(worker)
        assert next(events)


def test_a_hung_orphan_ends_too(serve: Any, config: Any, until: Any, tmp_path: Path) -> None:
    """Its loop never comes back, so no signal handler of the loop ever runs."""
    (tmp_path / "sitecustomize.py").write_text(
        "import time\nimport app.services\n"
        "app.services.Services.aclose = lambda self: time.sleep(600)\n"
    )
    gateway = serve("--config", config().path, PYTHONPATH=f"{tmp_path}:{ROOT}").ready()
    [worker] = gateway.workers()
    gateway.signal(signal.SIGKILL)
    until(lambda: not alive(worker), "the orphan ends")


# Stopping


def test_a_signal_to_the_whole_group_does_not_cut_the_delay(
    serve: Any, config: Any, until: Any
) -> None:
    """As systemd sends it: to the main process and to every worker."""
    gateway = serve("--config", config(delay="2s").path).ready()
    os.killpg(gateway.process.pid, signal.SIGTERM)
    answer = until(
        lambda: (a := gateway.get("/health/ready")).status_code == 503 and a, "readiness goes"
    )
    assert answer.headers["connection"] == "close"
    assert gateway.complete(model="first").status_code == 200
    assert gateway.wait() == 0


def test_ctrl_c_does_not_wait_for_balancers(serve: Any, config: Any) -> None:
    gateway = serve("--config", config(delay="1h").path).ready()
    gateway.signal(signal.SIGINT)
    assert gateway.wait() == 0


def test_answers_end_their_connections_while_the_gateway_stops(
    serve: Any, config: Any, until: Any
) -> None:
    gateway = serve("--config", config(delay="2s").path).ready()
    with httpx.Client(base_url=gateway.base, trust_env=False) as client:
        assert "connection" not in client.get("/health/live").headers
        gateway.signal(signal.SIGTERM)
        until(lambda: "connection" in client.get("/health/live").headers, "answers say so")
        assert client.get("/v1/models/none").headers["connection"] == "close"


# A port that is taken


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_gateway_on_the_port_is_refused_and_told_of_the_first(
    serve: Any, config: Any, workers: int
) -> None:
    arguments = ("--config", config(**TWO | {"workers": workers}).path)
    first = serve(*arguments).ready()
    second = serve(*arguments)
    assert second.wait() == 1
    said = second.err.text()
    assert f"cannot listen on 127.0.0.1:{first.port}: the port is in use by pid" in said
    assert f"pid {first.process.pid} (" in said
    assert "Traceback" not in said


def test_an_address_of_another_machine_is_told_as_such(serve: Any, port: int) -> None:
    gateway = serve("--host", "192.0.2.1", "--port", port)
    assert gateway.wait() == 1
    assert f"cannot listen on 192.0.2.1:{port}: Cannot assign" in gateway.err.text()
