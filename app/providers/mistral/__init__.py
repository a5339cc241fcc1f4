"""Mistral's API: chat, fill-in-the-middle, embeddings.

Source: https://docs.mistral.ai/api.
"""
