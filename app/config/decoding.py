"""A tree of plain values into frozen structs, with every problem found in one go.

msgspec stops at the first problem; a person who fixes a file wants all of them. So the walk is
ours, field by field, and msgspec converts the leaves.
"""

from __future__ import annotations

import difflib
import math
import re
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

from app.config.values.header_names import HeaderName
from app.config.values.otlp_endpoint import OtlpEndpoint
from app.config.values.quantities import Duration, Secret, Size

Path = tuple[str | int, ...]
_KINDS = {
    "int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false",
    "array": "a list", "object": "a mapping", "null": "nothing",
}  # fmt: skip
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_QUANTITIES = (Duration, Size, Secret, HeaderName, OtlpEndpoint)


class Fault(NamedTuple):
    """One thing wrong in a tree: where, and what would be right."""

    path: Path
    message: str


def path_text(path: Path) -> str:
    """``models.house.targets[0].provider``"""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "(top level)"


class Decoder:
    """Decodes one tree; afterwards ``faults`` holds everything that was wrong with it.

    With ``salvage`` a struct keeps its good fields, and gets empty values for the bad ones.
    """

    def __init__(self, *, salvage: bool = False) -> None:
        self.faults: list[Fault] = []
        self._salvage = salvage

    def decode(self, kind: Any, value: Any, path: Path = ()) -> Any:
        """``value`` as a ``kind``; None, and at least one more fault, where it is not one."""
        origin = get_origin(kind)
        if origin in (Union, types.UnionType):
            return self._union(kind, value, path)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self._struct(kind, value, path)
        if origin is dict:
            return self._mapping(get_args(kind)[1], value, path)
        if origin in (list, tuple):
            return self._list(origin, get_args(kind)[0], value, path)
        if kind in _QUANTITIES:
            return self._leaf(lambda: kind.parse(value), path)
        return self._leaf(lambda: _plain(kind, value), path)

    def fault(self, path: Path, message: str) -> None:
        self.faults.append(Fault(path, message))

    def _leaf(self, convert: Callable[[], Any], path: Path) -> Any:
        try:
            return convert()
        except msgspec.ValidationError as error:
            self.fault(path, _worded(str(error)))
        except (ValueError, OverflowError) as error:
            self.fault(path, str(error))
        return None

    def _union(self, kind: Any, value: Any, path: Path) -> Any:
        members = [member for member in get_args(kind) if member is not type(None)]
        if value is None and len(members) < len(get_args(kind)):
            return None
        if len(members) == 1:
            return self.decode(members[0], value, path)
        if get_origin(members[0]) is Literal:  # a name, or a mapping in its place
            return self.decode(members[isinstance(value, Mapping)], value, path)
        tagged: dict[Any, Any] = {member.__struct_config__.tag: member for member in members}
        field = members[0].__struct_config__.tag_field
        if not isinstance(value, Mapping):
            self.fault(path, f"expected a mapping with `{field}`, {_got(value)}")
            return None
        tag = value.get(field)
        if not isinstance(tag, str) or tag not in tagged:
            names = " or ".join(sorted(map(str, tagged)))
            named = f" {tag[:40]!r}" if isinstance(tag, str) else ""
            problem = f"unknown {field}{named}" if field in value else "is missing"
            self.fault((*path, field), f"{problem}; expected {names}")
            return None
        rest = {name: item for name, item in value.items() if name != field}
        return self._struct(tagged[tag], rest, path)

    def _struct(self, kind: type[msgspec.Struct], value: Any, path: Path) -> Any:
        if not isinstance(value, Mapping):
            self.fault(path, f"expected a mapping, {_got(value)}")
            return None
        before = len(self.faults)
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        hints = get_type_hints(kind, include_extras=True)
        for name in value:
            if name not in fields:
                self.fault((*path, str(name)), _unknown(str(name), list(fields)))
        given: dict[str, Any] = {}
        for name, field in fields.items():
            if name in value:
                given[field.name] = self.decode(hints[field.name], value[name], (*path, name))
            elif field.required:
                self.fault((*path, name), "is missing")
        if len(self.faults) == before:
            return kind(**given)
        if not self._salvage:
            return None
        good = {name: item for name, item in given.items() if item is not None}
        for field in fields.values():
            if field.required and field.name not in good:
                good[field.name] = _empty(hints[field.name])
        return kind(**good)

    def _mapping(self, kind: Any, value: Any, path: Path) -> Any:
        if not isinstance(value, Mapping):
            self.fault(path, f"expected a mapping, {_got(value)}")
            return {}
        return {
            str(name): self.decode(kind, item, (*path, str(name))) for name, item in value.items()
        }

    def _list(self, origin: Any, kind: Any, value: Any, path: Path) -> Any:
        if origin is tuple and not isinstance(value, list | Mapping | None):
            return (self.decode(kind, value, path),)  # a lone value stands for a list of one
        if not isinstance(value, list):
            cure = "; put it in brackets: [{…}]" if isinstance(value, Mapping) else ""
            self.fault(path, f"expected a list, {_got(value)}{cure}")
            return origin()
        return origin(self.decode(kind, item, (*path, i)) for i, item in enumerate(value))


def _worded(said: str) -> str:
    """msgspec's message in the words of the file: types as people call them."""
    text = said.split(" - at `", maxsplit=1)[0].replace("`", "")
    for kind, words in _KINDS.items():
        text = text.replace(f"Expected {kind}", f"expected {words}").replace(
            f"got {kind}", f"not {words}"
        )
    return text[0].lower() + text[1:]


def _plain(kind: Any, value: Any) -> Any:
    if get_origin(kind) is Literal and value not in get_args(kind):
        shown = f", not {value[:40]!r}" if isinstance(value, str) else ""
        raise ValueError(f"expected one of {', '.join(map(str, get_args(kind)))}{shown}")
    if isinstance(value, str) and value.startswith("$") and _NUMBER.fullmatch(value[1:]):
        raise ValueError(f"expected a number: write {value[1:]}, without the dollar sign")
    converted = msgspec.convert(value, kind, strict=False)
    if isinstance(converted, float) and not math.isfinite(converted):
        raise ValueError("expected a number that is finite")
    return converted


def _empty(kind: Any) -> Any:
    """What stands in for a required value that could not be read."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if kind in (int, float):
        return 0
    if kind is Secret:
        return Secret("")
    return () if get_origin(kind) is tuple else ""


def _unknown(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean `{close[0]}`?" if close else f"expected one of {', '.join(known)}"
    return f"unknown setting; {hint}"


def _got(value: Any) -> str:
    # Never the value itself: it may be a secret in the wrong place.
    names = {type(None): "nothing", dict: "a mapping", list: "a list", str: "a text"}
    return f"not {names.get(type(value), 'a number, a date or true or false')}"
