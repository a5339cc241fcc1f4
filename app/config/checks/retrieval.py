"""What the types of a retrieval cannot say: slots in templates, files, a store that lasts."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from app.config.decoding import Path
from app.config.sections.retrieval import HttpRetrieval, RedisRetrieval, Retrieval, StaticRetrieval
from app.config.settings import Settings
from app.config.values.store_url import parse_store_url
from app.retrieval.documents import BadDocument, files_of
from app.retrieval.prompts.template import BadTemplate, parse_system, parse_template

Say = Callable[[Path, str], None]
Refer = Callable[[Path, str, str | None], None]
Name = Callable[[Path, str], None]


class RetrievalChecks:
    """Looks a configuration's retrievals over; ``fault`` takes what is wrong with them.

    ``refer`` checks a name in another section, ``name`` one of our own.
    """

    def __init__(self, settings: Settings, fault: Say, refer: Refer, name: Name) -> None:
        self._settings = settings
        self._fault = fault
        self._refer = refer
        self._name = name

    def check(self, path: Path, section: Retrieval) -> None:
        for what, parse in (("template", parse_template), ("system", parse_system)):
            try:
                parse(getattr(section, what))
            except BadTemplate as error:
                self._fault((*path, what), str(error))
        if section.deadline <= 0:
            self._fault((*path, "deadline"), "must be more than 0")
        match section:
            case StaticRetrieval():
                self._static(path, section)
            case RedisRetrieval():
                self._redis(path, section)
            case HttpRetrieval() if not section.url.startswith(("http://", "https://")):
                self._fault((*path, "url"), "expected an address like https://host/path")
            case _:
                pass

    def _static(self, path: Path, section: StaticRetrieval) -> None:
        self._refer((*path, "encoder"), "encoders", section.encoder)
        if find_spec("numpy") is None:
            extra = "static needs an extra: pip install 'headgate[semantic]'"
            self._fault((*path, "kind"), extra)
        if not section.documents:
            self._fault((*path, "documents"), "must name at least one group of files")
        for number, group in enumerate(section.documents):
            if group is None:
                continue
            place = (*path, "documents", number)
            for tenant in group.tenants:
                self._refer((*place, "tenants"), "tenants", tenant)
            known = {key.id for key in self._settings.keys if key is not None}
            for key in group.keys:
                if key not in known:
                    self._fault((*place, "keys"), f"no key has this id: {key!r}")
            try:
                files_of([one for one in group.files if one])
            except BadDocument as error:
                self._fault((*place, "files"), str(error))

    def _redis(self, path: Path, section: RedisRetrieval) -> None:
        self._refer((*path, "encoder"), "encoders", section.encoder)
        if section.index is not None:
            self._name((*path, "index"), section.index)
        url = (section.url or self._settings.store.url).reveal()
        if url.startswith("memory:"):
            self._fault(
                (*path, "url"),
                "memory:// is empty whenever a process starts; name a Redis 8, or use "
                "`kind: static`",
            )
        elif section.url is not None:
            try:
                parse_store_url(url)
            except ValueError as error:
                self._fault((*path, "url"), str(error))
