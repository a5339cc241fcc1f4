"""The page's own files and those of others: known, small, and with nothing from elsewhere."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

STATIC = Path(__file__).parents[4] / "app" / "routes" / "dashboard" / "static"
VENDOR = STATIC / "vendor"
MOST_BYTES = 150_000
OURS = [path for path in STATIC.iterdir() if path.is_file()]


def test_what_others_wrote_is_what_the_list_says() -> None:
    text = (VENDOR / "THIRD_PARTY.md").read_text("utf-8")
    listed = dict(re.findall(r"^\| (\S+) \|.*`([0-9a-f]{64})` \|$", text, re.MULTILINE))
    code = {path for path in VENDOR.iterdir() if path.suffix in (".js", ".css")}
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in code} == listed


def test_every_licence_is_there() -> None:
    text = (VENDOR / "THIRD_PARTY.md").read_text("utf-8")
    named = set(re.findall(r"\S+\.LICENSE\.txt", text))
    assert named == {path.name for path in VENDOR.glob("*.LICENSE.txt")}


def test_the_page_is_small() -> None:
    sizes = [path.stat().st_size for path in STATIC.rglob("*") if path.suffix in (".js", ".css")]
    assert sum(sizes) <= MOST_BYTES


def test_no_text_becomes_html() -> None:
    unsafe = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(")
    assert [path.name for path in OURS if unsafe.search(path.read_text("utf-8"))] == []


def test_nothing_but_the_theme_is_kept_in_the_browser() -> None:
    kept = [
        line
        for path in OURS
        for line in path.read_text("utf-8").splitlines()
        if re.search(r"localStorage|sessionStorage|indexedDB|document\.cookie", line)
    ]
    assert all("headgate-theme" in line for line in kept)


def test_nothing_comes_from_elsewhere() -> None:
    outside = re.compile(r"""(?:src|href|from|import|url)\s*[=(]?\s*["'(]?https?://""")
    assert [path.name for path in OURS if outside.search(path.read_text("utf-8"))] == []


def test_no_file_is_long() -> None:
    assert {path.name for path in OURS if len(path.read_text("utf-8").splitlines()) > 300} == set()
