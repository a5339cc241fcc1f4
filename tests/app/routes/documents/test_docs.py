"""The pages that a gateway serves: the index names each of them, and their Markdown is understood."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from app.routes.documents.docs import FOLDER, INDEX, read_pages

STATIC = Path(__file__).parents[4] / "app" / "routes" / "documents" / "static"
PAGES = read_pages(FOLDER)
SAMPLE = """# A *page*

Text with `code`, **bold** and [a link](api.md#headers), over
two lines.

| a | b |
|---|---|
| `x` | <img src=x onerror=alert(1)> |

- one
  goes on
- two

```sh
<b>
```
"""


def test_the_index_names_every_page_once() -> None:
    index = (FOLDER / INDEX).read_text()
    named = re.findall(r"^- \[[^\]]+\]\(([\w-]+\.md)\): \S", index, re.MULTILINE)
    assert sorted(named) == sorted(set(PAGES) - {INDEX})


def test_llms_txt_has_its_form() -> None:
    heading, _, summary, *rest = PAGES[INDEX].decode().splitlines()
    assert heading.startswith("# ")
    assert summary.startswith("> ")
    links = re.findall(r"\]\(([^)]+)\)", "\n".join(rest))
    assert {link.removeprefix("/docs/") for link in links} == set(PAGES) - {INDEX}


@pytest.mark.parametrize("name", sorted(PAGES))
def test_the_links_of_a_page_lead_somewhere(name: str) -> None:
    text = re.sub(r"```.*?```", "", (FOLDER / name).read_text(), flags=re.DOTALL)
    for address in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in address:
            path = address.partition("#")[0]
            assert not path or (FOLDER / path).exists(), address


def test_the_page_and_its_scripts_are_small_and_stand_alone() -> None:
    files = list(STATIC.iterdir())
    assert sum(file.stat().st_size for file in files) < 60_000
    text = "".join(file.read_text() for file in files)
    assert "//cdn" not in text
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=\"|style=\"", text)  # nothing inline


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node")
def test_every_page_is_read_as_markdown(tmp_path: Path) -> None:
    (tmp_path / "markdown.mjs").write_text((STATIC / "markdown.js").read_text())
    texts = {name: text.decode() for name, text in PAGES.items()} | {"sample": SAMPLE}
    (tmp_path / "pages.json").write_text(json.dumps(texts))
    (tmp_path / "run.mjs").write_text(
        'import { readFileSync } from "node:fs";\nimport { markdown } from "./markdown.mjs";\n'
        'const pages = JSON.parse(readFileSync("pages.json"));\n'
        "const trees = Object.entries(pages).map(([name, text]) => [name, markdown(text)]);\n"
        "console.log(JSON.stringify(Object.fromEntries(trees)));\n"
    )
    done = subprocess.run(
        ["node", "run.mjs"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    trees = json.loads(done.stdout)
    assert trees["sample"] == [
        ["h1", {"id": "a-page"}, "A *page*"],
        [
            "p", {}, "Text with ", ["code", {}, "code"], ", ", ["strong", {}, "bold"], " and ",
            ["a", {"href": "#api/headers"}, "a link"], ", over two lines.",
        ],
        [
            "div", {"class": "wide", "tabindex": "0"},
            [
                "table", {},
                ["thead", {}, ["tr", {}, ["th", {}, "a"], ["th", {}, "b"]]],
                [
                    "tbody", {},
                    [
                        "tr", {}, ["td", {}, ["code", {}, "x"]],
                        ["td", {}, "<img src=x onerror=alert(1)>"],
                    ],
                ],
            ],
        ],
        ["ul", {}, ["li", {}, "one goes on"], ["li", {}, "two"]],
        ["pre", {"tabindex": "0"}, ["code", {}, "<b>"]],
    ]  # fmt: skip
    for name, tree in trees.items():
        assert tree[0][0] == "h1", name
