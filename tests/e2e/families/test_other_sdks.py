"""Clients that are no dependencies of ours, each as a script that a user could have written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import client_install
from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway

pytestmark = pytest.mark.timeout(400)  # the packages are got once


def got(install: Callable[[], Path]) -> Path:
    try:
        return install()
    except client_install.Unavailable as error:
        pytest.skip(str(error))


def run(gateway: Gateway, command: list[str], folder: Path, **environment: str) -> None:
    place = {"GATEWAY_URL": gateway.url, "GATEWAY_KEY": KEY, "GATEWAY_MODEL": "cached-sim"}
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


@pytest.mark.parametrize("script", ["openai_chat.mjs", "vercel_ai.mjs"])
def test_a_client_for_node(gateway: Gateway, script: str) -> None:
    run(gateway, ["node", script], got(client_install.node))


def test_continue_fills_in_the_middle(gateway: Gateway) -> None:
    run(gateway, ["node", "continue_fim.mjs"], got(client_install.continued))


@pytest.mark.parametrize(
    ("script", "install"),
    [
        ("langchain_chat.py", client_install.langchain),
        ("anthropic_messages.py", client_install.anthropic),
    ],
)
def test_a_client_for_python(gateway: Gateway, script: str, install: Callable[[], Path]) -> None:
    folder = got(install)
    script = str(client_install.SCRIPTS / script)
    run(gateway, [sys.executable, script], folder, PYTHONPATH=str(folder))
