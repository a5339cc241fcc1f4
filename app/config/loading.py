"""Settings: one YAML file as frozen structs. The only reader of files and of the environment.

Every field here is explained for users in docs/configuration.md; a test holds the two together.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from app.config.checks.advice import advice
from app.config.checks.references import check_references
from app.config.decoding import Decoder, Fault, Path, path_text
from app.config.schema.descriptions import describe
from app.config.schema.json_schema import schema_of
from app.config.secret_files import ReadSecret, read_secret_file, with_secret_files
from app.config.settings import Settings
from app.config.values.quantities import Secret
from app.config.yaml_tree import YamlTree
from app.core.keys import digest_of

MAX_FILE_BYTES = 8 << 20


class Loaded(NamedTuple):
    """A valid configuration: what it says, what is odd about it, and its short hash.

    ``secret_files`` are the files that it names, with the secrets in them. ``lines`` are the lines of
    what stands in it, ``variables`` the environment variables that its values are made of,
    ``source`` the file's name.
    """

    settings: Settings
    warnings: tuple[str, ...]
    generation: str
    secret_files: Mapping[str, Secret] = MappingProxyType({})
    lines: Mapping[Path, int] = MappingProxyType({})
    variables: Mapping[Path, tuple[str, ...]] = MappingProxyType({})
    source: str = "configuration"


class ConfigError(Exception):
    """A configuration that cannot be used; ``problems`` is one line each, in file order."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read(file: str | FilePath) -> str:
    """The text of a configuration file.

    Raises ConfigError where it cannot be read.
    """
    try:
        data = FilePath(file).read_bytes()
    except OSError as error:
        raise ConfigError([f"{file}: cannot be read: {error.strerror}"]) from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError([f"{file}: is larger than {MAX_FILE_BYTES} bytes"])
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ConfigError([f"{file}: is not UTF-8 text"]) from None


def load(
    text: str,
    source: str = "configuration",
    environment: Mapping[str, str] | None = None,
    read_secret: ReadSecret = read_secret_file,
) -> Loaded:
    """The settings in a YAML text; ``environment`` fills ``${NAME}``, the process's own by default.
    ``read_secret`` gives what stands in a ``secret_file``.

    Raises ConfigError naming every problem with its line and path.
    """
    tree = YamlTree(text, os.environ if environment is None else environment)
    decoder = Decoder()
    settings = decoder.decode(Settings, tree.value) if tree.value is not None else None
    faults = [*tree.faults, *decoder.faults]
    warnings: list[Fault] = []
    files: dict[str, Secret] = {}
    if settings is None:
        # References can still be checked in the parts that are right.
        faults += _loose_references(tree.value, faults)
    else:
        settings, files, unread = with_secret_files(settings, read_secret)
        faults += unread
        more, warnings = check_references(settings)
        warnings += advice(settings, datetime.now(UTC))
        told = {fault.path for fault in faults}
        faults += [fault for fault in more if fault.path not in told]
    if faults:
        raise ConfigError(_lines(source, tree, faults))
    assert settings is not None
    return Loaded(
        settings,
        tuple(_lines(source, tree, warnings)),
        _generation(text, files),
        files,
        tree.lines,
        tree.variables,
        source,
    )


def _generation(text: str, files: Mapping[str, Secret]) -> str:
    """A short hash of everything that was read: a secret that was changed is a new configuration."""
    whole = hashlib.sha256(text.encode())
    for file, secret in sorted(files.items()):
        whole.update(digest_of(f"{file}\0{secret.reveal()}"))
    return whole.hexdigest()[:12]


def _loose_references(tree: Any, faults: list[Fault]) -> list[Fault]:
    """Check references of a file that has other faults, each section decoded by itself."""
    if not isinstance(tree, Mapping):
        return []
    known = {tuple(fault.path) for fault in faults}
    lenient = Decoder(salvage=True)
    salvaged: dict[str, Any] = {}
    hints = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    for name, value in tree.items():
        if name not in hints or not isinstance(value, Mapping | list):
            continue
        decoded = lenient.decode(hints[name], value, (name,))
        if isinstance(decoded, dict):
            decoded = {key: item for key, item in decoded.items() if item is not None}
        elif isinstance(decoded, tuple):
            # Places must stay, so that problems name the right line.
            pass
        if decoded is not None:
            salvaged[name] = decoded
    more, _ = check_references(Settings(**salvaged), declared=tree)
    return [fault for fault in more if fault.path not in known]


def _lines(source: str, tree: YamlTree, faults: list[Fault]) -> list[str]:
    placed = [(tree.line_of(fault.path) or 0, fault) for fault in faults]
    placed.sort(key=lambda item: item[0])
    return [
        f"{source}:{line}: {path_text(fault.path)}: {fault.message}" if line
        else f"{source}: {path_text(fault.path)}: {fault.message}"
        for line, fault in placed
    ]  # fmt: skip


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the file, for editors."""
    schema = describe(schema_of(Settings))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def config_file_from_environment() -> str | None:
    """The file that HEADGATE_CONFIG names, if it is set."""
    return os.environ.get("HEADGATE_CONFIG") or None


def notify_socket_from_environment() -> str | None:
    """Where a service manager wants to be told that the gateway serves: sd_notify(3)."""
    return os.environ.get("NOTIFY_SOCKET") or None
