"""Cohere's API, version 2.

Source: https://docs.cohere.com/reference/chat, /chat-stream and /embed.
"""
