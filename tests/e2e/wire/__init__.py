"""Real sockets, a real gateway process, an upstream that does as it is told."""
