"""How often the semantic cache would hit, and how often it would be right, on labelled texts."""
