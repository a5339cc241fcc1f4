"""The one error of the harness: a sentence for the person at the terminal."""


class BenchFailureError(Exception):
    """Something that stops a step or the run; its text says what to do about it."""
