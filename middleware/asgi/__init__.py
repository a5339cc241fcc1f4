"""The outer half of the chain: about HTTP, and spoken to in ASGI."""
