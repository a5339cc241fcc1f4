"""A YAML text as plain values, with the line of every value and the environment filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from app.config.decoding import Fault, Path

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-((?:[^}$]|\$(?!\{))*))?\}|(\$\{)")
_BARE_VARIABLE = re.compile(r"(?<![\"'])\$\{[A-Za-z_][A-Za-z0-9_]*(?::-[^}]*)?\}")
_MAX_DEPTH = 20
_MAX_NODES = 200_000
_BAD_VARIABLE = "expected ${NAME} or ${NAME:-default}"


class YamlTree:
    """``value`` is the tree; ``lines`` maps a path to its 1-based line; ``faults`` what was wrong.

    ``variables`` names the environment variables that a value was made of.
    """

    def __init__(self, text: str, environment: Mapping[str, str]) -> None:
        self.lines: dict[Path, int] = {}
        self.variables: dict[Path, tuple[str, ...]] = {}
        self.faults: list[Fault] = []
        self._environment = environment
        self._nodes = 0  # bounds what aliases of aliases can unfold to
        # The constructor's own checks for dates and numbers; nothing in it makes objects.
        self._scalars = yaml.constructor.SafeConstructor()
        self.value: Any = self._read(text)

    def line_of(self, path: Path) -> int | None:
        """The line of a path, or of its nearest ancestor that stands in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)

    def _read(self, text: str) -> Any:
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.composer.ComposerError as error:
            # Its own words would quote what may be an unquoted secret.
            if error.problem_mark is not None:
                self.lines[()] = error.problem_mark.line + 1
            problem = "is not valid YAML: more than one document"
            if "alias" in str(error.problem) or "anchor" in str(error.problem):
                problem = "refers to an anchor that does not exist; quote a text that begins with *"
            self.faults.append(Fault((), problem))
            return None
        except RecursionError:
            self.faults.append(Fault((), "is nested too deeply"))
            return None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            if mark is not None:
                self.lines[()] = mark.line + 1
            self.faults.append(Fault((), _explained(error, text)))
            return None
        except yaml.YAMLError as error:
            self.faults.append(Fault((), f"is not valid YAML: {error}"))
            return None
        return {} if node is None else self._build(node, (), frozenset())

    def _build(self, node: yaml.Node, path: Path, open_nodes: frozenset[int]) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        self._nodes += 1
        if id(node) in open_nodes or len(path) > _MAX_DEPTH or self._nodes > _MAX_NODES:
            if self._nodes <= _MAX_NODES + 1:
                self.faults.append(Fault(path, "refers to itself, or unfolds to too much"))
            return None
        inside = open_nodes | {id(node)}
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, inside)
        if isinstance(node, yaml.SequenceNode):
            return [self._build(item, (*path, i), inside) for i, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path, inside: frozenset[int]) -> Any:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.faults.append(Fault(path, "has a key that is not a text"))
                continue
            name = str(key_node.value)
            if name in result:
                line = key_node.start_mark.line + 1
                self.faults.append(Fault((*path, name), f"stands twice, again on line {line}"))
                continue
            self.lines[(*path, name)] = key_node.start_mark.line + 1
            result[name] = self._build(value_node, (*path, name), inside)
        return result

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        text = str(node.value)
        if "${" in text:
            return _VARIABLE.sub(lambda match: self._variable(match, path), text)
        if node.tag == "tag:yaml.org,2002:timestamp":
            return text
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError):
            kind = "has a tag that is not understood; quote a text that starts with !"
            if node.tag.startswith("tag:yaml.org,2002:"):
                kind = f"cannot be read as {node.tag.rpartition(':')[2]}"
            self.faults.append(Fault(path, kind))
            return None

    def _variable(self, match: re.Match[str], path: Path) -> str:
        name, default = match[1], match[2]
        if name is None:
            self.faults.append(Fault(path, _BAD_VARIABLE))
            return ""
        value = self._environment.get(name)
        self.variables[path] = (*self.variables.get(path, ()), name)
        if value or (value is not None and default is None):
            return value
        if default is not None:
            return default
        self.faults.append(
            Fault(
                path,
                f"needs the environment variable {name}; set it, or write ${{{name}:-default}}",
            )
        )
        return ""


def _explained(error: yaml.MarkedYAMLError, text: str) -> str:
    """What is wrong with a text that is not YAML, and the line to write where that can be told."""
    problem = str(error.problem or error)
    mark = error.problem_mark
    lines = text.splitlines()
    line = lines[mark.line] if mark is not None and mark.line < len(lines) else ""
    if "'\\t'" in problem:
        return "is indented with a tab; YAML wants spaces"
    bare = _BARE_VARIABLE.search(line)
    if bare is not None and "got '{'" in problem:
        return f'in braces a variable must be quoted: write "{bare[0]}"'
    if "block mapping start" in problem or "mapping values are not allowed" in problem:
        return (
            "does not line up with the lines before it: entries of one level are indented alike, "
            "and a text with `: ` in it must be quoted"
        )
    return f"is not valid YAML: {problem}"
