"""What a translation leaves out, and what it needs."""

from __future__ import annotations


class Notes:
    """Each place that has no counterpart, with the reason; and the environment's names."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.variables: dict[str, None] = {}

    def left(self, place: str, why: str) -> None:
        """Something was not translated."""
        line = f"{place}: {why}"
        if line not in self.lines:
            self.lines.append(line)
