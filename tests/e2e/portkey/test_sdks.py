"""Portkey's own packages, each as a script that a user could have written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import client_install
from tests.harness.credentials import KEY
from tests.harness.exchange import Request, Wire
from tests.harness.gateway import Gateway
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.timeout(400)  # the packages are got once


@pytest.fixture(autouse=True)
def the_first_is_down(upstream: Upstream) -> None:
    """`a` fails, so that whoever falls back is answered by `b`."""

    async def down(request: Request, wire: Wire) -> None:
        await wire.answer({"error": {"message": "down"}}, 500)

    upstream.on("a", down)


def got(install: Callable[[], Path]) -> Path:
    try:
        return install()
    except client_install.Unavailable as error:
        pytest.skip(str(error))


def run(gateway: Gateway, command: list[str], folder: Path, **environment: str) -> None:
    place = {"GATEWAY_URL": gateway.url, "GATEWAY_KEY": KEY}
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | place | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout.strip().endswith("OK"), done.stderr[-3000:]


def test_portkeys_package_for_python(gateway: Gateway, upstream: Upstream) -> None:
    folder = got(client_install.portkey)
    script = client_install.SCRIPTS / "portkey_chat.py"
    run(gateway, [sys.executable, str(script)], folder, PYTHONPATH=str(folder))
    assert {request.model for request in upstream.requests} == {"a", "b", "c"}


def test_portkeys_package_for_node(gateway: Gateway, upstream: Upstream) -> None:
    run(gateway, ["node", "portkey.mjs"], got(client_install.portkey_node))
    assert {request.model for request in upstream.requests} == {"a", "b"}
