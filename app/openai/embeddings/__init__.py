"""Embeddings: the wire contract, pure."""
