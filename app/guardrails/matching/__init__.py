"""Finding: patterns, words and their checks, over one text."""
