"""Texts of the operator's own that are put beside a prompt: where they come from, which are chosen."""
