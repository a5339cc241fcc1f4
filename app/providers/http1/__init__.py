"""The HTTP/1.1 transport under every provider."""
