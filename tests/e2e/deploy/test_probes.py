"""The probes of deploy/kubernetes against a gateway on the ConfigMap's file, also while it stops."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM
from typing import Any

import httpx
import pytest
import yaml

from tests.e2e.deploy.topology import DEPLOY, Replica, fresh_address
from tests.harness.credentials import KEY
from tests.harness.waiting import eventually

FOLDER = DEPLOY / "kubernetes"
POD: dict[str, Any] = yaml.safe_load((FOLDER / "deployment.yaml").read_text())["spec"]["template"]
[CONTAINER] = POD["spec"]["containers"]
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    file: Path = tmp_path_factory.mktemp("kubernetes") / "gateway.yaml"
    # A probe waits for no store here, and none is there: `optional` must be enough.
    file.write_text((FOLDER / "gateway.yaml").read_text())
    given = {
        "HEADGATE_STORE": "redis://127.0.0.1:1",
        "HEADGATE_KEY_SHA256": hashlib.sha256(KEY.encode()).hexdigest(),
    }
    running = Replica(fresh_address(), file, given)
    running.start()
    try:
        yield running
    finally:
        running.remove()


def probed(replica: Replica, kind: str) -> int:
    asked = CONTAINER[kind]["httpGet"]
    url = f"http://{replica.address}:{PORTS[asked['port']]}{asked['path']}"
    try:
        return httpx.get(url, trust_env=False).status_code
    except httpx.TransportError:
        return 0


def test_a_pod_without_its_store_is_ready_and_one_that_stops_is_not_but_lives(
    replica: Replica,
) -> None:
    eventually(lambda: probed(replica, "startupProbe"), 200, within=60)
    eventually(lambda: probed(replica, "readinessProbe"), 200, within=60)
    assert probed(replica, "livenessProbe") == 200
    replica.signal(SIGTERM)
    eventually(lambda: probed(replica, "readinessProbe"), 503)
    assert probed(replica, "livenessProbe") == 200
