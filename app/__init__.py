"""Headgate: an edge gateway for LLM completions."""

__version__ = "0.1.0"
