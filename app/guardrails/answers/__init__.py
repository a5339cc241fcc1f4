"""Answers on their way to the caller, under the rules of the output."""
