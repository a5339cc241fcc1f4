"""Providers around providers: what an upstream cannot do itself, made of what it can."""
