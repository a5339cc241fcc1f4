"""The table of ``headgate usage``."""

from __future__ import annotations

from app.commands.usage import table
from cache.quotas.usage import COUNTED, UsageRow


def row(key: str, **counts: int) -> UsageRow:
    return UsageRow("acme", key, "house", dict.fromkeys(COUNTED, 0) | counts)


def test_kinds_of_tokens_have_a_column_where_there_are_some() -> None:
    lines = table([row("web", prompt_tokens=1200, cached_tokens=1000), row("ci", cached_tokens=5)])
    heading, web, _, total = lines
    assert heading.split("  cached") != [heading]
    assert "reasoning" not in heading
    assert web.split() == ["acme", "web", "house", "0", "0", "1,200", "1,000", "0", "0", "0"]
    assert total.split() == ["total", "0", "0", "1,200", "1,005", "0", "0", "0"]


def test_without_any_the_table_is_as_narrow_as_ever() -> None:
    heading = table([row("web", prompt_tokens=1)])[0]
    assert heading.split() == (
        "tenant key model requests errors prompt tokens completion tokens cost USD saved USD".split()
    )
