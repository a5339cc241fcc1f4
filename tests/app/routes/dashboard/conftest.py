"""The stores that sessions are kept in."""

from tests.cache.conftest import url

__all__ = ["url"]
