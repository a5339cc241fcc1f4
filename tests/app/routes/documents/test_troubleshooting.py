"""docs/troubleshooting.md names what really happens: codes with their status, and the store's words."""

from __future__ import annotations

import re

from app.routes.documents.docs import FOLDER
from app.routes.openapi.refusals import REFUSALS

PAGE = (FOLDER / "troubleshooting.md").read_text()
ROOT = FOLDER.parent


def test_every_refusal_has_the_status_of_its_code() -> None:
    told = re.findall(r"^\| (\d{3}) `(\w+)` \|", PAGE, re.MULTILINE)
    known = {(str(row.status), code) for row in REFUSALS for code in row.codes}
    assert len(told) > 15
    assert set(told) - known == set()


def test_the_stores_words_are_the_codes() -> None:
    section = PAGE.partition("## The store")[2].partition("\n## ")[0]
    told = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    source = "".join(
        (ROOT / "cache" / "store" / name).read_text() for name in ("outages.py", "redis_store.py")
    )
    assert len(told) > 5
    for words in told:
        assert words.rstrip("… ").removesuffix(" READONLY") in source, words
