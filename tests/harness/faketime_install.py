"""Gets libfaketime for the tests of skewed clocks: what the machine has, else Debian's package.

Where the tests run as root it is installed with apt-get; else the package of the machine's own
release is checked as redis_install's are, and unpacked into ``.redis/faketime``.
"""

import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.harness import redis_install

PACKAGE = "libfaketime"


@cache
def library() -> Path:
    """The library to be preloaded."""
    for install in (None, _apt_install, _unpack):
        if install is not None:
            install()
        found = [*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")]
        found += (redis_install.FOLDER / "faketime").glob("usr/lib/*/faketime/libfaketimeMT.so.1")
        if found:
            return found[0]
    raise AssertionError("libfaketime could not be had: install Debian's package faketime")


def environment(offset: str) -> dict[str, str]:
    """For a process whose wall clock is ``offset`` (``+25h``, ``-10s``) from the machine's."""
    return {
        "LD_PRELOAD": str(library()),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",  # the same, for versions before 0.9.10
    }


def _apt_install() -> None:
    if os.geteuid() != 0:
        return
    install = ["apt-get", "install", "-y", "--no-install-recommends", PACKAGE]
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (install, ["apt-get", "update"], install):
        try:
            done = subprocess.run(command, env=quiet, capture_output=True, timeout=180, check=False)
        except (OSError, subprocess.SubprocessError):
            return
        if command is install and done.returncode == 0:
            return


def _unpack() -> None:
    release = redis_install._codename()
    architecture = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()
    for mirror in redis_install._mirrors():
        fields = redis_install._index(mirror, release, architecture)[PACKAGE]
        content = redis_install._get(f"{mirror}/{fields['Filename']}")
        redis_install._check(content, fields["SHA256"], PACKAGE)
        target = redis_install.FOLDER / "faketime"
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(suffix=".deb") as package:
            package.write(content)
            package.flush()
            subprocess.run(["dpkg-deb", "-x", package.name, target], check=True, timeout=60)
        return
