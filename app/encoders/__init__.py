"""How a text becomes a vector: in this process, or by asking a provider."""
