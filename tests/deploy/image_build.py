"""deploy/Dockerfile carried out without Docker: its files, its RUN steps, its environment.

``python -m tests.deploy.image_build`` does so with the whole of image.lock and prints what it took.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
HOME = "/opt/headgate"  # where the image keeps what is installed
# Run by root in a mount namespace of its own: all is read-only there but the folder $1.
READ_ONLY = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
chmod 1777 "$1"
cut -d' ' -f2 /proc/mounts | while read -r at; do
  test "$at" = "$1" || mount -o remount,bind,ro "$at" 2>/dev/null || true
done
shift
# It may read what is not its own, because the tests' Python may lie in root's home.
exec setpriv --reuid=10001 --regid=10001 --clear-groups --no-new-privs \\
  --inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search \\
  --bounding-set=-all,+dac_read_search "$@"
"""


class Step(NamedTuple):
    """One instruction, as ``RUN`` and what follows it."""

    word: str
    rest: str


def stages() -> list[list[Step]]:
    """The instructions of each stage; those before the first FROM stand in the first."""
    text = "\n".join(line for line in DOCKERFILE.read_text().splitlines() if line[:1] != "#")
    found: list[list[Step]] = []
    for line in text.replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        if not word:
            continue
        if not found or (word == "FROM" and any(step.word == "FROM" for step in found[-1])):
            found.append([])
        found[-1].append(Step(word, " ".join(rest.split())))
    return found


def only(steps: list[Step], word: str) -> str:
    """The one instruction of its kind."""
    [rest] = [step.rest for step in steps if step.word == word]
    return rest


def exec_form(text: str) -> list[str]:
    """``["a", "b"]`` of a CMD, an ENTRYPOINT, or a HEALTHCHECK's end."""
    command: list[str] = json.loads(text[text.index("[") :])
    return command


def context() -> Iterator[str]:
    """The files of this checkout that .dockerignore lets through to a build."""
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert "*" in rules, "an allow-list begins by refusing everything"
    inside = tuple(f"{rule}/" for rule in rules if rule[:1] not in ("!", "#", "*"))
    listed = subprocess.run(
        ("git", "ls-files", "-co", "--exclude-standard"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = (name for name in listed.stdout.split() if name.partition("/")[0] in allowed)
    return (name for name in names if not name.startswith(inside))


class Image:
    """What the steps make, in a folder that stands for the container's root."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / HOME[1:]
        self.scratch = folder / "tmp"
        self._source = folder / "source"
        self._context = folder / "context"
        for made in (self.home.parent, self.scratch, self._source, self._context):
            made.mkdir(parents=True)

    def build(self, locks: Mapping[str, str]) -> None:
        """Carry the first stage out; ``locks`` takes the place of files of the context."""
        for name in context():
            (self._context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self._context / name)
        for name, text in locks.items():
            (self._context / name).write_text(text)
        environment = {**os.environ, "TMPDIR": str(self.scratch)}
        for step in stages()[0]:
            if step.word == "ARG":
                name, _, value = step.rest.partition("=")
                environment[name] = value
            elif step.word == "COPY":
                self._copy(*step.rest.split())
            elif step.word == "RUN":
                self._run(step.rest, environment)

    def command(self, words: list[str]) -> list[str]:
        """A command of the image, as it stands in this folder."""
        moved = [word.replace(HOME, str(self.home)) for word in words]
        program = self.home / "bin" / moved[0]
        return [str(program) if program.exists() else moved[0], *moved[1:]]

    def environment(self) -> dict[str, str]:
        """That of the last stage, and nothing of ours."""
        found = {"PATH": "/usr/local/bin:/usr/bin:/bin", "TMPDIR": str(self.scratch)}
        for pair in shlex.split(only(stages()[-1], "ENV")):
            name, _, value = pair.partition("=")
            value = value.replace("/tmp", str(self.scratch)).replace(HOME, str(self.home))
            found[name] = value.replace("${PATH}", found["PATH"])
        return found

    def confined(self, command: list[str], scratch: Path | None = None) -> list[str]:
        """As the image's user on a read-only root but for ``scratch``, where we may arrange that.

        ``scratch`` is the image's /tmp unless another is given.
        """
        if os.geteuid() != 0 or subprocess.run(("unshare", "-m", "true"), check=False).returncode:
            return command
        return [
            "unshare",
            "-m",
            "sh",
            "-c",
            READ_ONLY,
            "sh",
            str(scratch or self.scratch),
            *command,
        ]

    def _copy(self, *names: str) -> None:
        *sources, target = names
        for name in sources:
            at = self._context / name
            assert at.exists(), f"COPY {name}: .dockerignore keeps it out"
            if at.is_dir():
                shutil.copytree(at, self._source / target)
            else:
                shutil.copy(at, self._source)

    def _run(self, script: str, environment: Mapping[str, str]) -> None:
        script = re.sub(r"(?<![\w/])python -m", f"{shlex.quote(sys.executable)} -m", script)
        done = subprocess.run(
            ("bash", "-euc", script.replace(HOME, str(self.home))),
            cwd=self._source,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, script + "\n" + done.stdout + done.stderr


def main() -> None:
    """The real thing: every package of image.lock, downloaded and installed."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        image = Image(Path(folder))
        image.build({})
        size = subprocess.run(("du", "-sm", image.home), capture_output=True, text=True, check=True)
        print(f"built in {time.monotonic() - begun:.0f} s, {size.stdout.split()[0]} MiB")
        version = image.command(["headgate", "--version"])
        subprocess.run(version, env=image.environment(), check=True)


if __name__ == "__main__":
    main()
