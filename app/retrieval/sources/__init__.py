"""Where chunks come from: one file a kind of source."""
