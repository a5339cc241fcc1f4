"""One real client against one base URL, as a process in the client's own environment."""

import json
import re
import subprocess

from tests.real import places
from tests.real.clients_list import Client
from tests.real.processes import finish
from tests.real.report import Finding
from tests.real.servers import Endpoint, tiny_hf

SECONDS = 600


def prove(client: Client, gateway: Endpoint) -> Finding:
    """The client's script must end well and print OK."""
    client.environment.ensure()
    script = str(places.HERE / "clients" / client.script)
    runtime = "node" if client.environment.node else client.environment.tool("python")
    done = finish(
        [runtime, script],
        folder=client.environment.folder if client.environment.node else places.MADE,
        environment=places.quiet_environment(
            GATEWAY_URL=gateway.root,
            GATEWAY_KEY=gateway.key,
            GATEWAY_MODEL=gateway.model,
            GATEWAY_TOKENIZER=str(tiny_hf()) if client.script == "vllm_bench.py" else "",
            NODE_PATH=str(client.environment.folder / "node_modules"),
        ),
        seconds=SECONDS,
    )
    (places.LOGS / f"client-{client.name}.log").write_text(
        done.stdout + done.stderr, encoding="utf-8"
    )
    if done.returncode or not re.search(r"^OK$", done.stdout, re.MULTILINE):
        return Finding(False, (done.stdout + done.stderr)[-500:])
    return Finding(True, f"{client.shown} {version(client)}")


def version(client: Client) -> str:
    """The installed version of the package that the client is known by."""
    if client.environment.node:
        file = client.environment.folder / "node_modules" / client.shown / "package.json"
        return str(json.loads(file.read_text(encoding="utf-8"))["version"])
    code = f"import importlib.metadata as m; print(m.version({client.shown!r}))"
    asked = [client.environment.tool("python"), "-c", code]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
