"""Chunks of documents in the store, for retrieval."""
