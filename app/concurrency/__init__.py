"""Helpers over asyncio."""
