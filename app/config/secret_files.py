"""Secrets that stand in files of their own, as container platforms mount them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path as FilePath

from msgspec.structs import replace

from app.config.decoding import Fault
from app.config.settings import CallerKey, Settings
from app.config.values.quantities import Secret

MAX_SECRET_BYTES = 4096

ReadSecret = Callable[[str], Secret]


def read_secret_file(file: str) -> Secret:
    """The secret in a file, without the line end behind it.

    Raises ValueError naming the file, and nothing that is in it.
    """
    try:
        with FilePath(file).open("rb") as opened:
            data = opened.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{file!r} cannot be read: {error.strerror}") from None
    if len(data) > MAX_SECRET_BYTES:
        raise ValueError(f"{file!r} is larger than {MAX_SECRET_BYTES} bytes")
    try:
        return Secret(data.decode("ascii").rstrip("\r\n"))
    except UnicodeDecodeError:
        raise ValueError(f"{file!r} holds other characters than a key can have") from None


def known(files: Mapping[str, Secret]) -> ReadSecret:
    """Reads from what another process has read: all workers use the same secrets."""

    def read(file: str) -> Secret:
        try:
            return files[file]
        except KeyError:
            raise ValueError(f"{file!r} was not read") from None

    return read


def with_secret_files(
    settings: Settings, read: ReadSecret
) -> tuple[Settings, dict[str, Secret], list[Fault]]:
    """The settings with each key's ``secret_file`` read into its ``secret``; the files; the faults."""
    files: dict[str, Secret] = {}
    faults: list[Fault] = []

    def filled(index: int, key: CallerKey) -> CallerKey:
        secrets = []
        for place, file in enumerate(key.secret_file):
            try:
                files[file] = read(file)
            except ValueError as error:
                path = ("keys", index, "secret_file")
                faults.append(
                    Fault(path if len(key.secret_file) == 1 else (*path, place), str(error))
                )
            else:
                secrets.append(files[file])
        return replace(key, secret=(*key.secret, *secrets)) if secrets else key

    if any(key.secret_file for key in settings.keys):
        keys = tuple(filled(index, key) for index, key in enumerate(settings.keys))
        settings = replace(settings, keys=keys)
    return settings, files, faults
