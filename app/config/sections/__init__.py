"""Sections of the file that are large enough for a file of their own."""
