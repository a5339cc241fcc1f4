"""Prometheus text, read as strictly as its format is written."""

from __future__ import annotations

import re

from tests.harness.gateway import Gateway

_SERIES = re.compile(
    r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\n"])*"'
    r'(?:,[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\n"])*")*)\})? (?P<value>[-+0-9.eE]+|NaN|[+-]Inf)'
)
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\\n]|\\[\\n"])*)"')
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
_COMMENT = re.compile(r"# (HELP [a-zA-Z_:]\w* [^\n]+|TYPE [a-zA-Z_:]\w* (counter|gauge|histogram))")

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Series:
    """Prometheus text, version 0.0.4; fails where a line is none of its."""
    assert text == "" or text.endswith("\n")
    found: Series = {}
    types: list[str] = []
    kinds: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            assert _COMMENT.fullmatch(line), line
            if line.startswith("# TYPE"):
                types.append(line.split(" ")[2])
                kinds[types[-1]] = line.split(" ")[3]
            continue
        match = _SERIES.fullmatch(line)
        assert match, line
        assert types, "a sample before its type"
        parts = ("_bucket", "_sum", "_count") if kinds[types[-1]] == "histogram" else ("",)
        assert match["name"] in {types[-1] + part for part in parts}, "a family in two places"
        labels = frozenset(
            (name, re.sub(r"\\.", lambda escape: _ESCAPES[escape[0]], value))
            for name, value in _LABEL.findall(match["labels"] or "")
        )
        assert (match["name"], labels) not in found, "one series twice"
        found[match["name"], labels] = float(match["value"])
    assert len(types) == len(set(types)), "a family in two places"
    return found


def metric(gateway: Gateway, name: str, **labels: str) -> float:
    """The sum of a counter's series that have these labels."""
    series = parsed(gateway.get("/metrics/shared", None).body.decode())
    wanted = set(labels.items())
    full = f"headgate_semantic_{name}"
    return sum(value for (n, has), value in series.items() if n == full and wanted <= has)
