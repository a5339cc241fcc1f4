"""Portkey's way of asking for a route: its headers and its configs, as values. Pure."""
