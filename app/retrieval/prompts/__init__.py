"""From chunks to a prompt: which are used, how they are written down, where they stand. Pure."""
