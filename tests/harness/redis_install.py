"""Gets redis-server for the tests: what the machine has, else Debian's packages.

Redis 7 is Debian 12's, Redis 8 (with vector sets) Debian 13's. The one that the machine's own
release carries is installed with apt-get where the tests run as root. Any other is unpacked into
``.redis/`` in the project's root and runs with the loader and the C library that came with it, so
the machine stays as it was. The mirror is the one that the machine's apt uses; the release's
signature is checked with the machine's Debian keyring, then every package's SHA-256.
"""

import fcntl
import hashlib
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".redis"
RELEASES = {"7": "bookworm", "8": "trixie"}  # the Debian release that carries each major
KEYRINGS = Path("/usr/share/keyrings")
# Libraries are followed through their dependencies; what only an installation needs is not.
LIBRARY = re.compile(r"z?lib|lua-")
PROGRAMS = ("redis-server", "redis-tools")
SECONDS = 60

problems: dict[str, str] = {}  # major -> why it could not be had, for whoever reports it


class Unavailable(Exception):
    """This redis-server cannot be had on this machine; the text says why."""


@cache
def servers() -> dict[str, Path]:
    """Every redis-server there is, by major version; gets what is missing, once and for all."""
    found: dict[str, Path] = {}
    for major in RELEASES:
        try:
            found[major] = _server(major)
        except Unavailable as error:
            problems[major] = str(error)
            print(f"\n!!! NO REDIS {major} FOR THE TESTS: {error}\n", file=sys.stderr, flush=True)
    return found


def _server(major: str) -> Path:
    if (system := _installed(major)) is not None:
        return system
    unpacked = FOLDER / major / "redis-server"
    if _major(unpacked) == major:
        return unpacked
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test runs may start at once
        if _major(unpacked) == major:
            return unpacked
        if _codename() == RELEASES[major] and os.geteuid() == 0:
            _apt_install()
            if (system := _installed(major)) is not None:
                return system
        print(f"getting Redis {major} for the tests, once …", file=sys.stderr, flush=True)
        _unpack(major)
    if _major(unpacked) != major:
        raise Unavailable("the unpacked program does not start")
    return unpacked


def _installed(major: str) -> Path | None:
    path = shutil.which("redis-server") or shutil.which("/usr/bin/redis-server")
    return Path(path) if path is not None and _major(Path(path)) == major else None


def _major(program: Path) -> str | None:
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"v=(\d+)\.", done.stdout)
    return match[1] if match else None


def _codename() -> str:
    try:
        text = Path("/etc/os-release").read_text()
    except OSError:
        return ""
    match = re.search(r"^VERSION_CODENAME=\"?(\w+)", text, re.MULTILINE)
    return match[1] if match else ""


def _apt_install() -> None:
    """Debian's package; where apt-get fails, the caller unpacks the same packages instead."""
    install = ["apt-get", "install", "-y", "--no-install-recommends", "redis-server"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (install, ["apt-get", "update"], install):
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, timeout=180, check=False
            )
        except (OSError, subprocess.SubprocessError):
            return
        if command is install and done.returncode == 0:
            return


def _unpack(major: str) -> None:
    release = RELEASES[major]
    for tool in ("dpkg-deb", "dpkg", "gpgv"):
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} is missing: this works on Debian")
    architecture = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()
    mirrors = list(_mirrors())
    if not mirrors:
        raise Unavailable("the machine's apt sources name no Debian mirror")
    reasons = []
    for mirror in mirrors:
        try:
            _unpack_from(mirror, release, architecture, FOLDER / major)
        except (OSError, Unavailable, subprocess.SubprocessError, lzma.LZMAError) as error:
            reasons.append(_reason(error))
        else:
            return
    raise Unavailable("; ".join(dict.fromkeys(reasons)))


def _reason(error: Exception) -> str:
    """Without the mirror's address: what is printed may end in a public log."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the mirror answered {error.code}"
    return str(error) if isinstance(error, Unavailable) else type(error).__name__


def _mirrors() -> Iterator[str]:
    """Where the machine's apt gets this machine's own release from."""
    codename = _codename()
    folder = Path("/etc/apt")
    seen = set()
    for path in [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]:
        if path.suffix not in (".list", ".sources") or not path.is_file():
            continue
        entries = _stanzas(path) if path.suffix == ".sources" else _lines(path)
        for addresses, suites in entries:
            for address in addresses:
                if codename in suites and address not in seen and address.startswith("http"):
                    seen.add(address)
                    yield address.rstrip("/")


def _lines(path: Path) -> Iterator[tuple[list[str], list[str]]]:
    for line in path.read_text().splitlines():
        match = re.match(r"deb\s+(?:\[[^]]*\]\s*)?(\S+)\s+(\S+)\s", line)
        if match:
            yield [match[1]], [match[2]]


def _stanzas(path: Path) -> Iterator[tuple[list[str], list[str]]]:
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE)
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^(\w[\w-]*):[ \t]*(.*)$", stanza, re.MULTILINE))
        if "deb" in fields.get("Types", "").split() and fields.get("Enabled", "yes") != "no":
            yield fields.get("URIs", "").split(), fields.get("Suites", "").split()


def _unpack_from(mirror: str, release: str, architecture: str, folder: Path) -> None:
    packages = _index(mirror, release, architecture)
    with tempfile.TemporaryDirectory(dir=FOLDER) as temporary:
        tree = Path(temporary) / "tree"
        for name in _closure(packages):
            fields = packages[name]
            content = _get(f"{mirror}/{fields['Filename']}")
            _check(content, fields["SHA256"], name)
            package = Path(temporary) / "package.deb"
            package.write_bytes(content)
            subprocess.run(
                ["dpkg-deb", "-x", package, tree], check=True, capture_output=True, timeout=SECONDS
            )
        for program in ("redis-server", "redis-cli", "redis-sentinel"):
            _write_start(tree, program)
        shutil.rmtree(folder, ignore_errors=True)
        tree.rename(folder)


def _index(mirror: str, release: str, architecture: str) -> dict[str, dict[str, str]]:
    """A release's packages by name; the index is the one that the release's signature covers."""
    signed = _get(f"{mirror}/dists/{release}/InRelease")
    _verify(signed)
    place = f"main/binary-{architecture}/Packages.xz"
    digests = signed.decode().partition("\nSHA256:\n")[2]
    match = re.search(rf"^ ([0-9a-f]{{64}}) +\d+ {re.escape(place)}$", digests, re.MULTILINE)
    if match is None:
        raise Unavailable(f"Debian {release} has no packages for {architecture}")
    packed = _get(f"{mirror}/dists/{release}/{place}")
    _check(packed, match[1], "the index")
    packages = {}
    for stanza in lzma.decompress(packed).decode().split("\n\n"):
        fields = dict(re.findall(r"^(\w[\w-]*): (.*)$", stanza, re.MULTILINE))
        if "Package" in fields:
            packages[fields["Package"]] = fields
    return packages


def _verify(signed: bytes) -> None:
    keyrings = [*KEYRINGS.glob("debian-archive-keyring.gpg")]
    keyrings = keyrings or [*KEYRINGS.glob("debian-archive-*.gpg")]
    options = [option for keyring in keyrings for option in ("--keyring", str(keyring))]
    done = subprocess.run(
        ["gpgv", "--status-fd", "1", *options],
        input=signed,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    # One good signature is enough: a new release is also signed with keys not yet known here.
    status = done.stdout.decode()
    if "[GNUPG:] VALIDSIG " not in status or "[GNUPG:] BADSIG " in status:
        raise Unavailable("the release's signature is not one of Debian's")


def _closure(packages: dict[str, dict[str, str]]) -> list[str]:
    wanted = list(PROGRAMS)
    for name in wanted:
        if name not in packages:
            raise Unavailable(f"the release has no package {name}")
        depends = f"{packages[name].get('Pre-Depends', '')},{packages[name].get('Depends', '')}"
        for choice in depends.split(","):
            for option in choice.split("|"):
                found = re.split(r"[\s(:]", option.strip())[0]
                if LIBRARY.match(found) and found in packages:
                    if found not in wanted:
                        wanted.append(found)
                    break
    return wanted


def _write_start(tree: Path, program: str) -> None:
    """A script that starts a program with the loader and libraries unpacked beside it."""
    if not (tree / "usr/bin" / program).exists():
        return
    loaders = [*tree.glob("lib/*/ld-linux*.so.*"), *tree.glob("usr/lib/*/ld-linux*.so.*")]
    if not loaders:
        raise Unavailable("the C library brought no loader")
    loader = loaders[0].relative_to(tree)
    found = {path.parent for usr in ("", "usr/") for path in tree.glob(f"{usr}lib/*/lib*.so.*")}
    folders = sorted(path.relative_to(tree) for path in found)
    libraries = ":".join(f"$here/{folder}" for folder in folders)
    start = tree / program
    start.write_text(
        "#!/bin/sh\n"
        'here=$(dirname "$(readlink -f "$0")")\n'
        f'exec "$here/{loader}" --library-path "{libraries}" "$here/usr/bin/{program}" "$@"\n'
    )
    start.chmod(0o755)


def _get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=SECONDS) as answer:
        content: bytes = answer.read()
    return content


def _check(content: bytes, digest: str, what: str) -> None:
    if hashlib.sha256(content).hexdigest() != digest:
        raise Unavailable(f"{what} is not what the release says it is")
