"""Anthropic's Messages as callers send them, over chat. Pure."""
