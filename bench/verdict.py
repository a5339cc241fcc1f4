"""Facts of a soak as they are found, right or wrong."""

from dataclasses import dataclass


@dataclass(slots=True)
class Verdict:
    """`failed` counts the wrong ones."""

    failed: int = 0

    def fact(self, right: bool, text: str) -> None:
        """Prints one fact."""
        self.failed += not right
        print(f"{'ok  ' if right else 'FAIL'}  {text}", flush=True)


def detail(text: str) -> None:
    """Prints what belongs to the fact above."""
    print(f"      {text}", flush=True)
