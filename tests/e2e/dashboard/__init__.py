"""The dashboard of a real gateway, and what it reads."""
